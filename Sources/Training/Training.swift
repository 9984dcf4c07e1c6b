// The IO shells of joiner and trainer.
