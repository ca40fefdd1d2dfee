// Runs a graph of deploy.export on clips, by the headers and libraries of Paddle's Python wheel:
//
//   infer --model_dir=DIR --clips=clips.npy --output=logits.npy
//
// DIR holds inference.json or, of Paddle 2, inference.pdmodel. clips: float32 [N, T, 3, H, W], normalized, or [N, 3, H, W]
// of pictures, which go in one by one; logits: float32 [N, K], or [N, K, H, W].

#include <algorithm>
#include <iostream>
#include <map>

#include "npy.h"
#include "paddle/common/flags.h"
#include "paddle/fluid/pir/dialect/operator/ir/op_dialect.h"
#include "paddle/jit/all.h"
#include "paddle/phi/api/include/tensor_utils.h"
#include "paddle/phi/core/dense_tensor.h"

// What `import paddle` calls first; libpaddle has them, the headers of the wheel do not.
namespace paddle::framework {
void InitMemoryMethod();
void InitDevices();
void InitDefaultKernelSignatureMap();
}  // namespace paddle::framework

// Its header needs those of oneDNN, which the wheel lacks; absent where Paddle was built without oneDNN.
namespace phi::funcs {
__attribute__((weak)) void TransDataLayoutFromOneDNN(DataLayout from, DataLayout to, const DenseTensor& in,
                                                     DenseTensor* out, Place place, bool always_copy);
}  // namespace phi::funcs

namespace {

void InitPaddle() {
  paddle::framework::InitMemoryMethod();
  paddle::framework::InitDevices();
  paddle::framework::InitDefaultKernelSignatureMap();
  pir::IrContext::Instance()->GetOrRegisterDialect<paddle::dialect::OperatorDialect>();
}

std::map<std::string, std::string> FlagsOf(int argc, char** argv) {
  std::map<std::string, std::string> flags{{"model_dir", ""}, {"clips", ""}, {"output", ""}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t sign = argument.find('=');
    const std::string name = argument.substr(0, 2) == "--" ? argument.substr(2, sign - 2) : "";
    if (sign == std::string::npos || !flags.count(name)) throw std::runtime_error(argument + " is no flag");
    flags[name] = argument.substr(sign + 1);
  }
  for (const auto& flag : flags) {
    if (flag.second.empty()) throw std::runtime_error("--" + flag.first + "=... is missing");
  }
  return flags;
}

// The values in the order of the axes: oneDNN leaves maps as it has computed them, channel beside channel.
phi::DenseTensor InOrder(const paddle::Tensor& tensor) {
  phi::DenseTensor values = *std::static_pointer_cast<phi::DenseTensor>(tensor.impl());
  if (values.layout() != phi::DataLayout::ONEDNN) return values;
  if (!phi::funcs::TransDataLayoutFromOneDNN) throw std::runtime_error("this Paddle cannot order what oneDNN gives");
  phi::DenseTensor ordered;
  phi::funcs::TransDataLayoutFromOneDNN(values.layout(), phi::DataLayout::NCHW, values, &ordered, phi::CPUPlace(),
                                        false);
  return ordered;
}

Array Run(paddle::jit::Layer* layer, Array clips) {
  if (clips.shape.size() != 4 && clips.shape.size() != 5) {
    throw std::runtime_error("the clips must be of shape [N, T, 3, H, W] or [N, 3, H, W]");
  }
  const int64_t count = clips.shape[0];
  std::vector<int64_t> one = clips.shape;  // [1, ...]
  one[0] = 1;
  Array logits{{count}, {}};
  for (int64_t i = 0; i < count; ++i) {
    paddle::Tensor clip = paddle::from_blob(clips.values.data() + i * CountOf(one), one, phi::DataType::FLOAT32,
                                            phi::DataLayout::NCHW, phi::CPUPlace());
    const phi::DenseTensor row = InOrder(layer->forward(std::vector<paddle::Tensor>{clip}).at(0));  // [1, K, ...]
    if (row.dtype() != phi::DataType::FLOAT32 || (row.dims().size() != 2 && row.dims().size() != 4)) {
      throw std::runtime_error("the graph does not give float32 [1, K] or [1, K, H, W]");
    }
    for (int axis = 1; i == 0 && axis < row.dims().size(); ++axis) logits.shape.push_back(row.dims()[axis]);
    logits.values.insert(logits.values.end(), row.data<float>(), row.data<float>() + row.numel());
  }
  return logits;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto flags = FlagsOf(argc, argv);
    const std::string stem = flags["model_dir"] + "/inference";
    const bool is_new = std::ifstream(stem + ".json").good();
    if (!is_new && !std::ifstream(stem + ".pdmodel")) {
      throw std::runtime_error(flags["model_dir"] + " has no inference.json and no inference.pdmodel");
    }
    InitPaddle();
    paddle::flags::SetFlagValue("enable_pir_api", is_new ? "true" : "false");
    auto layer = paddle::jit::Load(stem, phi::CPUPlace());
    const Array logits = Run(&layer, ReadNpy(flags["clips"]));
    WriteNpy(flags["output"], logits);
    std::cout << "logits of " << logits.shape[0] << " clips in " << flags["output"] << std::endl;
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 1;
  }
}
