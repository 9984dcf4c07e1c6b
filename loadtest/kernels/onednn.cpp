// oneDNN as a peer of the kernel benchmarks: the MLP as inner products with fused ReLU, weights in the layout that the library asks for.
//   onednn fp32|bf16|int8 WEIGHTS ROWS      WEIGHTS, ROWS: raw float32; then lines as peer.py takes them, {"batch": 16, "seconds": 0.2}
// int8: static scales, unsigned activations after ReLU; only its speed is compared.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dnnl.hpp>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

using namespace dnnl;
using Type = memory::data_type;
using Tag = memory::format_tag;

static std::vector<float> load(const char *path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) { fprintf(stderr, "cannot read %s\n", path); exit(1); }
  std::vector<float> values(file.tellg() / sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char *>(values.data()), values.size() * sizeof(float));
  return values;
}

struct Network {
  engine cpu{engine::kind::cpu, 0};
  stream queue{cpu};
  std::vector<primitive> steps;
  std::vector<std::unordered_map<int, memory>> arguments;
  memory first, last;
  memory::dim rows = 0;

  Network(memory::dim batch, Type type, const std::vector<float> &weights) : rows(batch) {
    const memory::dim sizes[] = {512, 512, 256, 1};
    const float *next = weights.data();
    memory source;
    for (int layer = 0; layer < 3; layer++) {
      const memory::dim inputs = sizes[layer], outputs = sizes[layer + 1];
      const bool ends = layer == 2;
      Type from = type == Type::s8 ? (layer ? Type::u8 : Type::s8) : type;
      Type to = ends ? Type::f32 : type == Type::s8 ? Type::u8 : type;
      memory::desc x({batch, inputs}, from, layer ? Tag::any : Tag::nc), w({outputs, inputs}, type, Tag::any),
          b({outputs}, Type::f32, Tag::x), y({batch, outputs}, to, ends ? Tag::nc : Tag::any);
      if (layer) x = source.get_desc();
      primitive_attr attributes;
      if (type == Type::s8) attributes.set_output_scales(0, {ends ? 1e-4f : 2e-3f});
      if (!ends) {
        post_ops after;
        after.append_eltwise(1.f, algorithm::eltwise_relu, 0.f, 0.f);
        attributes.set_post_ops(after);
      }
      inner_product_forward::primitive_desc description(
          {prop_kind::forward_inference, x, w, b, y}, attributes, cpu);
      memory plain({{outputs, inputs}, Type::f32, Tag::oi}, cpu), packed(description.weights_desc(), cpu), bias({{outputs}, Type::f32, Tag::x}, cpu);
      memcpy(plain.get_data_handle(), next, sizeof(float) * inputs * outputs);
      next += inputs * outputs;
      memcpy(bias.get_data_handle(), next, sizeof(float) * outputs);
      next += outputs;
      primitive_attr scaled;
      if (type == Type::s8) scaled.set_output_scales(0, {500.f});
      reorder(reorder::primitive_desc(cpu, plain.get_desc(), cpu, packed.get_desc(), scaled)).execute(queue, plain, packed);
      if (!layer) {
        // Rows come as float32, as they do to every peer.
        first = memory({{batch, inputs}, Type::f32, Tag::nc}, cpu);
        source = memory(description.src_desc(), cpu);
        if (type == Type::f32) {
          first = source;
        } else {
          primitive_attr scale;
          if (type == Type::s8) scale.set_output_scales(0, {30.f});
          steps.push_back(reorder(reorder::primitive_desc(cpu, first.get_desc(), cpu, source.get_desc(), scale)));
          arguments.push_back({{DNNL_ARG_SRC, first}, {DNNL_ARG_DST, source}});
        }
      }
      memory result(description.dst_desc(), cpu);
      steps.push_back(inner_product_forward(description));
      arguments.push_back({{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, result}});
      source = last = result;
    }
    queue.wait();
  }

  void run(void *x) {
    first.set_data_handle(x);
    for (size_t step = 0; step < steps.size(); step++) steps[step].execute(queue, arguments[step]);
    queue.wait();
  }
};

int main(int count, char **values) {
  if (count != 4) { fprintf(stderr, "usage: onednn fp32|bf16|int8 WEIGHTS ROWS\n"); return 2; }
  const std::string precision = values[1];
  const Type type = precision == "bf16" ? Type::bf16 : precision == "int8" ? Type::s8 : Type::f32;
  const std::vector<float> weights = load(values[2]);
  std::vector<float> rows = load(values[3]);
  const size_t total = rows.size() / 512;
  std::map<long, Network> networks;
  printf("{\"ready\": \"oneDNN\"}\n");
  fflush(stdout);
  std::string line;
  while (std::getline(std::cin, line)) {
    const char *batch_at = strstr(line.c_str(), "\"batch\":"), *seconds_at = strstr(line.c_str(), "\"seconds\":");
    if (!batch_at || !seconds_at) continue;
    const long batch = atol(batch_at + 8);
    const double seconds = atof(seconds_at + 10);
    auto found = networks.find(batch);
    if (found == networks.end()) found = networks.emplace(std::piecewise_construct, std::forward_as_tuple(batch), std::forward_as_tuple(batch, type, weights)).first;
    const size_t pieces = total / batch;
    size_t done = 0;
    const auto began = std::chrono::steady_clock::now();
    double passed = 0;
    while (passed < seconds) {
      for (int i = 0; i < 16; i++, done++) found->second.run(&rows[(done % pieces) * batch * 512]);
      passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    }
    found->second.run(rows.data());
    printf("{\"ns_per_row\": %.3f, \"call_overhead_ns\": 0, \"scores\": [", passed * 1e9 / done / batch);
    const float *scores = static_cast<const float *>(found->second.last.get_data_handle());
    for (long i = 0; i < std::min(16L, batch); i++) printf("%s%g", i ? ", " : "", scores[i]);
    printf("]}\n");
    fflush(stdout);
  }
}
