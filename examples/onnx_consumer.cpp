// Run an exported model with ONNX Runtime alone: samples in, predictions out.
//
//     csp-baselines export RUN --format onnx -o step.onnx
//     g++ -std=c++17 -O2 onnx_consumer.cpp -o onnx_consumer -lonnxruntime
//     tail -n +2 samples.csv | ./onnx_consumer step.onnx > predictions.csv
//
// Rows are numbers between commas, one for each of the file's interface.inputs, in that order, at its input_hz, and less
// the baseline, where the protocol has one (onnx_consumer.py subtracts it, and brings samples of other rates to that one).

#include <onnxruntime_cxx_api.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

struct Tensor {
  std::vector<int64_t> shape;
  ONNXTensorElementDataType type;
  std::vector<char> bytes;  // all states begin as zeros
};

long number(const std::string& json, const std::string& name) {
  return std::atol(json.c_str() + json.find("\"" + name + "\": ") + name.size() + 4);
}

int main(int, char** arguments) {
  Ort::Env env;
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);  // one sample is too little work to share
  Ort::Session session(env, arguments[1], options);
  Ort::AllocatorWithDefaultOptions allocator;
  const std::string about =
      session.GetModelMetadata().LookupCustomMetadataMapAllocated("csp-baselines-step", allocator).get();
  if (about.find("\"before_the_graph\": []") == std::string::npos)
    std::fprintf(stderr, "Note: the model was trained on samples less their baseline; these must come without it.\n");
  const long period = number(about, "calls_per_prediction"), due = number(about, "prediction_call");

  const size_t count = session.GetInputCount();  // samples and the states; prediction and the states
  std::vector<std::string> taken, given;
  std::vector<const char*> inputs, outputs;
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < count; i++) {
    taken.push_back(session.GetInputNameAllocated(i, allocator).get());
    given.push_back(session.GetOutputNameAllocated(i, allocator).get());
    const auto type = session.GetInputTypeInfo(i);
    const auto info = type.GetTensorTypeAndShapeInfo();
    const size_t width = info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? 4 : 8;  // else double, int64
    tensors.push_back({info.GetShape(), info.GetElementType(), std::vector<char>(width * info.GetElementCount())});
  }
  for (size_t i = 0; i < count; i++) {
    inputs.push_back(taken[i].c_str());
    outputs.push_back(given[i].c_str());
  }

  const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeCPU);
  auto* samples = reinterpret_cast<double*>(tensors[0].bytes.data());
  const size_t values = tensors[0].bytes.size() / sizeof(double);
  size_t have = 0;
  long call = 0;
  for (double value; std::scanf("%lf%*[,\r\n]", &value) == 1;) {
    if (!std::isfinite(value)) {
      std::fprintf(stderr, "expected finite numbers: one that is not would stay in the state\n");
      return 1;
    }
    samples[have++] = value;
    if (have < values) continue;
    have = 0;
    std::vector<Ort::Value> fed;
    for (auto& t : tensors)
      fed.push_back(Ort::Value::CreateTensor(memory, t.bytes.data(), t.bytes.size(), t.shape.data(), t.shape.size(), t.type));
    const auto made = session.Run(Ort::RunOptions{nullptr}, inputs.data(), fed.data(), count, outputs.data(), count);
    for (size_t i = 1; i < count; i++)
      std::memcpy(tensors[i].bytes.data(), made[i].GetTensorRawData(), tensors[i].bytes.size());
    if (call++ % period != due) continue;
    const auto* prediction = made[0].GetTensorData<double>();
    const size_t width = made[0].GetTensorTypeAndShapeInfo().GetElementCount();
    for (size_t i = 0; i < width; i++) std::printf("%.9g%c", prediction[i], i + 1 < width ? ',' : '\n');
    std::fflush(stdout);
  }
}
