"""tritonclient over grpc.aio, unmodified."""
import asyncio

import tritonclient.grpc.aio as triton

from orders import ROWS, arguments, inputs, scores


async def main():
    async with triton.InferenceServerClient(url=arguments()["grpc"]) as client:
        assert await client.is_server_live() and await client.is_server_ready()
        assert await client.is_model_ready("orders")
        assert (await client.get_model_metadata("orders")).name == "orders"
        together = scores(await client.infer("orders", inputs(triton, ROWS)))
        # Many at once, on one connection.
        many = await asyncio.gather(*(client.infer("orders", inputs(triton, [ROWS[n % 3]])) for n in range(300)))
        assert [scores(one)[0] for one in many] == [together[n % 3] for n in range(300)]

        async def requests():
            for number in range(20):
                yield {"model_name": "orders", "inputs": inputs(triton, [ROWS[number % 3]]), "request_id": str(number),
                       "parameters": {"log": False}}

        number = 0
        async for result, error in client.stream_infer(requests()):
            assert error is None and result.get_response().id == str(number) and scores(result) == [together[number % 3]], error
            number += 1
        assert number == 20, number
    print("ok")


asyncio.run(main())
