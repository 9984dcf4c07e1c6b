// The peer of the RPC figures: gRPC C++ that answers every request with its own bytes, for TCP.
//
//   grpc_echo --port 9001 [--mode callback|generic|queues] [--threads 2] [--quota THREADS]
//
// It serves inference.GRPCInferenceService's ModelInfer (unary) and ModelStreamInfer (streaming) as byte buffers: nothing
// is parsed, copied or scored, so this is the least that a server on gRPC C++ can do for a request.
//   callback  the callback API with a raw unary method: the reactor is the library's own, nothing is made for a call
//   generic   the callback API's generic service: one reactor for each call
//   queues    the completion queue API: a queue and a thread for each of --threads, calls made in advance and reused
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using grpc::ByteBuffer;

namespace {

const char *const unary_name = "/inference.GRPCInferenceService/ModelInfer";
const char *const streaming_name = "/inference.GRPCInferenceService/ModelStreamInfer";

const grpc::Status no_message(grpc::StatusCode::INTERNAL, "no message");

/// Reads a message, writes it back, until the client has sent its last.
class EchoStream final : public grpc::ServerBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  EchoStream() { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (ok) StartWrite(&message_);
    else Finish(grpc::Status::OK);
  }
  void OnWriteDone(bool ok) override {
    if (ok) StartRead(&message_);
    else Finish(grpc::Status(grpc::StatusCode::UNKNOWN, "the peer is gone"));
  }
  void OnDone() override { delete this; }

 private:
  ByteBuffer message_;
};

class CallbackEcho final : public grpc::Service {
 public:
  CallbackEcho() {
    AddMethod(new grpc::internal::RpcServiceMethod(unary_name, grpc::internal::RpcMethod::NORMAL_RPC, nullptr));
    MarkMethodRawCallback(
        0, new grpc::internal::CallbackUnaryHandler<ByteBuffer, ByteBuffer>(
               [](grpc::CallbackServerContext *context, const ByteBuffer *request, ByteBuffer *response) {
                 auto *reactor = context->DefaultReactor();
                 // There is none when the client has gone, and to send none is a misuse that ends the process.
                 const bool is_message = request->Valid();
                 if (is_message) *response = *request;  // counts references, copies no bytes
                 reactor->Finish(is_message ? grpc::Status::OK : no_message);
                 return reactor;
               }));
    AddMethod(new grpc::internal::RpcServiceMethod(streaming_name, grpc::internal::RpcMethod::BIDI_STREAMING, nullptr));
    MarkMethodRawCallback(1, new grpc::internal::CallbackBidiHandler<ByteBuffer, ByteBuffer>(
                                 [](grpc::CallbackServerContext *) { return new EchoStream(); }));
  }
};

/// One call of the generic service: a message in, the message and the status out.
class GenericEchoCall final : public grpc::ServerGenericBidiReactor {
 public:
  GenericEchoCall() { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (ok) StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
    else Finish(no_message);
  }
  void OnDone() override { delete this; }

 private:
  ByteBuffer message_;
};

class GenericEcho final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor *CreateReactor(grpc::GenericCallbackServerContext *) override { return new GenericEchoCall(); }
};

class QueueEcho final : public grpc::Service {
 public:
  QueueEcho() {
    AddMethod(new grpc::internal::RpcServiceMethod(unary_name, grpc::internal::RpcMethod::NORMAL_RPC, nullptr));
    MarkMethodRaw(0);
  }
  void request(grpc::ServerContext *context, ByteBuffer *request, grpc::ServerAsyncResponseWriter<ByteBuffer> *writer,
               grpc::ServerCompletionQueue *queue, void *tag) {
    RequestAsyncUnary(0, context, request, writer, queue, queue, tag);
  }
};

/// A place for one call after another. Contexts are single-use in gRPC C++, so they are made anew in the same memory.
class QueuedCall {
 public:
  QueuedCall(QueueEcho *service, grpc::ServerCompletionQueue *queue) : service_(service), queue_(queue) { wait(); }
  void proceed(bool ok) {
    if (!ok) return;  // shutting down
    if (!answered_) {
      answered_ = true;
      if (request_.Valid()) writer_->Finish(request_, grpc::Status::OK, this);
      else writer_->FinishWithError(no_message, this);
      return;
    }
    writer_.reset();
    context_.reset();
    wait();
  }

 private:
  void wait() {
    answered_ = false;
    request_.Clear();
    context_.emplace();
    writer_.emplace(&*context_);
    service_->request(&*context_, &request_, &*writer_, queue_, this);
  }

  QueueEcho *service_;
  grpc::ServerCompletionQueue *queue_;
  bool answered_ = false;
  ByteBuffer request_;
  std::optional<grpc::ServerContext> context_;
  std::optional<grpc::ServerAsyncResponseWriter<ByteBuffer>> writer_;
};

int usage() {
  std::fprintf(stderr, "usage: grpc_echo --port PORT [--mode callback|generic|queues] [--threads N] [--quota THREADS]\n");
  return 64;
}

}  // namespace

int main(int count, char **arguments) {
  int port = -1, threads = static_cast<int>(std::thread::hardware_concurrency()), quota = 0;
  std::string mode = "callback";
  for (int i = 1; i < count; i += 2) {
    const std::string name = arguments[i];
    if (i + 1 >= count) return usage();
    const char *value = arguments[i + 1];
    if (name == "--port") port = std::atoi(value);
    else if (name == "--mode") mode = value;
    else if (name == "--threads") threads = std::atoi(value);
    else if (name == "--quota") quota = std::atoi(value);
    else return usage();
  }
  if (port < 0 || port > 65535 || threads < 1 || threads > 256) return usage();

  // SIGTERM and SIGINT end it from a thread of this program, not from a handler.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  grpc::ServerBuilder builder;
  int bound = 0;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &bound);
  builder.SetMaxReceiveMessageSize(64 << 20);
  // Nothing that costs time and is not asked for: no tracing, no load report.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CENSUS, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1024);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (quota > 0) builder.SetResourceQuota(grpc::ResourceQuota("echo").SetMaxThreads(quota));

  CallbackEcho callback;
  GenericEcho generic;
  QueueEcho queued;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  if (mode == "callback") {
    builder.RegisterService(&callback);
  } else if (mode == "generic") {
    builder.RegisterCallbackGenericService(&generic);
  } else if (mode == "queues") {
    builder.RegisterService(&queued);
    for (int i = 0; i < threads; i++) queues.push_back(builder.AddCompletionQueue());
  } else {
    return usage();
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server || bound == 0) {
    std::fprintf(stderr, "grpc_echo: port %d cannot be listened on\n", port);
    return 1;
  }
  std::printf("listening on %d\n", bound);
  std::fflush(stdout);

  std::vector<std::unique_ptr<QueuedCall>> calls;
  std::vector<std::thread> pollers;
  for (auto &queue : queues) {
    for (int i = 0; i < 1024; i++) calls.push_back(std::make_unique<QueuedCall>(&queued, queue.get()));
    pollers.emplace_back([queue = queue.get()] {
      void *tag;
      bool ok;
      while (queue->Next(&tag, &ok)) static_cast<QueuedCall *>(tag)->proceed(ok);
    });
  }

  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  for (auto &queue : queues) queue->Shutdown();
  for (auto &poller : pollers) poller.join();
  return 0;
}
