// A device that exists only in virtual time: torch's PrivateUse1 backend, computing on the CPU at once and charging
// scripted nanoseconds to clocks of its own. No figure of it depends on a real clock, so every run gives the same ones.
//
// Time. `host_ns` is the host's clock, and each stream knows the instant at which it will be idle. Enqueueing an
// operation advances the host by the launch cost; the operation starts when both the host has enqueued it and the
// stream is idle. Synchronizing advances the host to the instant at which the streams are idle.
// Memory. Tensors live in host memory. Reserved memory grows in whole segments and shrinks only in `empty_cache`.

#include <ATen/EmptyTensor.h>
#include <ATen/Functions.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <pybind11/functional.h>
#include <pybind11/stl.h>
#include <torch/library.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using Shapes = std::vector<std::vector<int64_t>>;
using c10::CachingAllocator::StatType;

constexpr auto kDevice = c10::DeviceType::PrivateUse1;
const c10::Device kFirst(kDevice, 0);

struct Script {
  std::function<int64_t(const std::string&, const Shapes&)> op_cost_ns;  // operation, input shapes -> device time
  int64_t launch_ns = 0;        // host time to enqueue one operation or copy
  int64_t event_ns = 0;         // host time to record one event
  int64_t context_ns = 0;       // host time of the first touch of the device
  int64_t first_call_ns = 0;    // host time of the first operation (loading of kernels)
  int64_t autotune_ns = 0;      // device time of the first use of an operation with its shapes
  int64_t ramp_ns = 0;          // an operation that starts before this much work was done runs `ramp_factor` slower
  int64_t ramp_factor = 1;
  int64_t pageable_ns_per_byte = 0;
  int64_t pinned_ns_per_byte = 0;
  int64_t total_bytes = int64_t{1} << 40;
  int64_t segment_bytes = 1;    // reserved memory grows in these
  int64_t fail_after = -1;      // operations that succeed before the device is lost; -1: never lost
};

struct Device {
  Script script;
  int64_t host_ns = 0;
  int64_t worked_ns = 0;
  int64_t operations = 0;
  bool has_context = false;
  double memory_fraction = 1.0;
  std::map<c10::StreamId, int64_t> idle_at_ns{{0, 0}};
  c10::StreamId current_stream = 0;
  std::set<std::pair<std::string, Shapes>> tuned;
};

// Never destroyed: tensors may outlive the interpreter's tidying up, and the script holds a Python function.
Device& device() {
  static auto* instance = new Device;
  return *instance;
}

int64_t& current_idle_at() {
  return device().idle_at_ns[device().current_stream];
}

void wait_until(int64_t instant_ns) {
  device().host_ns = std::max(device().host_ns, instant_ns);
}

void wait_for_all_streams() {
  for (const auto& [stream, idle_at_ns] : device().idle_at_ns) {
    wait_until(idle_at_ns);
  }
}

void touch() {
  if (!device().has_context) {
    device().has_context = true;
    device().host_ns += device().script.context_ns;
  }
}

void enqueue(int64_t cost_ns) {
  device().host_ns += device().script.launch_ns;
  current_idle_at() = std::max(device().host_ns, current_idle_at()) + cost_ns;
}

void charge_operation(const std::string& name, const Shapes& shapes) {
  auto& d = device();
  touch();
  if (d.script.fail_after >= 0 && d.operations >= d.script.fail_after) {
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 1, "simulated device lost");
  }
  if (d.operations++ == 0) {
    d.host_ns += d.script.first_call_ns;
  }
  int64_t cost_ns = 0;
  if (d.script.op_cost_ns) {
    pybind11::gil_scoped_acquire gil;
    cost_ns = d.script.op_cost_ns(name, shapes);
  }
  if (d.worked_ns < d.script.ramp_ns) {
    cost_ns *= d.script.ramp_factor;
  }
  d.worked_ns += cost_ns;
  const bool first_use = d.tuned.insert({name, shapes}).second;
  enqueue(cost_ns + (first_use ? d.script.autotune_ns : 0));
}

// ---- memory -------------------------------------------------------------------------------------------------------

struct Allocator final : c10::DeviceAllocator {
  c10::CachingDeviceAllocator::DeviceStats stats;

  struct Block {
    void* data;
    size_t size;
  };

  static Allocator& instance() {
    static auto* allocator = new Allocator;
    return *allocator;
  }

  auto& allocated() { return stats.allocated_bytes[static_cast<size_t>(StatType::AGGREGATE)]; }
  auto& reserved() { return stats.reserved_bytes[static_cast<size_t>(StatType::AGGREGATE)]; }

  static int64_t in_segments(int64_t size) {
    const int64_t segment = device().script.segment_bytes;
    return (size + segment - 1) / segment * segment;
  }

  c10::DataPtr allocate(size_t size) override {
    touch();
    const auto needed = in_segments(allocated().current + static_cast<int64_t>(size));
    const auto cap = static_cast<int64_t>(device().script.total_bytes * device().memory_fraction);
    if (needed > cap) {
      stats.num_ooms++;
      TORCH_CHECK_WITH(OutOfMemoryError, false, "simgpu out of memory. Tried to allocate ", size, " bytes; ",
                       cap - allocated().current, " bytes of ", cap, " are free.");
    }
    if (needed > reserved().current) {
      reserved().increase(needed - reserved().current);
    }
    allocated().increase(size);
    auto* block = new Block{c10::GetCPUAllocator()->raw_allocate(std::max<size_t>(size, 1)), size};
    return {block->data, block, &release, kFirst};
  }

  static void release(void* context) {
    auto* block = static_cast<Block*>(context);
    instance().allocated().decrease(block->size);
    c10::GetCPUAllocator()->raw_deallocate(block->data);
    delete block;
  }

  void copy_data(void* to, const void* from, size_t size) const override { std::memcpy(to, from, size); }
  bool initialized() override { return device().has_context; }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return stats; }

  void emptyCache(c10::MempoolId_t) override {
    reserved().decrease(reserved().current - in_segments(allocated().current));
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {
    allocated().reset_accumulated();
    reserved().reset_accumulated();
  }
  void resetPeakStats(c10::DeviceIndex) override {
    allocated().reset_peak();
    reserved().reset_peak();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override {
    return {device().script.total_bytes - reserved().current, device().script.total_bytes};
  }
};

struct PinnedAllocator final : c10::Allocator {
  std::map<const char*, size_t> blocks;

  static PinnedAllocator& instance() {
    static auto* allocator = new PinnedAllocator;
    return *allocator;
  }
  c10::DataPtr allocate(size_t size) override {
    auto* data = static_cast<char*>(c10::GetCPUAllocator()->raw_allocate(std::max<size_t>(size, 1)));
    blocks[data] = size;
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }
  static void release(void* data) {
    instance().blocks.erase(static_cast<char*>(data));
    c10::GetCPUAllocator()->raw_deallocate(data);
  }
  bool holds(const void* data) const {
    const auto* pointer = static_cast<const char*>(data);
    const auto after = blocks.upper_bound(pointer);
    if (after == blocks.begin()) {
      return false;
    }
    const auto& [start, size] = *std::prev(after);
    return pointer == start || pointer < start + size;
  }
  void copy_data(void* to, const void* from, size_t size) const override { std::memcpy(to, from, size); }
};

// ---- streams and events -------------------------------------------------------------------------------------------

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static c10::Stream stream(c10::StreamId id) { return c10::Stream(c10::Stream::UNSAFE, kFirst, id); }
  static int64_t& instant(void* event) { return *static_cast<int64_t*>(event); }

  c10::DeviceType type() const override { return kDevice; }
  c10::Device exchangeDevice(c10::Device) const override { return kFirst; }
  c10::Device getDevice() const override { return kFirst; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }

  c10::Stream getStream(c10::Device) const override { return stream(device().current_stream); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(0); }
  c10::Stream getStreamFromGlobalPool(c10::Device where, bool) const override { return getNewStream(where, 0); }
  c10::Stream getNewStream(c10::Device, int) const override {
    const auto id = static_cast<c10::StreamId>(device().idle_at_ns.size());
    device().idle_at_ns[id] = 0;
    return stream(id);
  }
  c10::Stream exchangeStream(c10::Stream next) const override {
    return stream(std::exchange(device().current_stream, next.id()));
  }
  bool queryStream(const c10::Stream& s) const override { return device().idle_at_ns[s.id()] <= device().host_ns; }
  void synchronizeStream(const c10::Stream& s) const override { wait_until(device().idle_at_ns[s.id()]); }
  void synchronizeDevice(c10::DeviceIndex) const override { wait_for_all_streams(); }

  void record(void** event, const c10::Stream& s, c10::DeviceIndex, c10::EventFlag) const override {
    touch();
    if (*event == nullptr) {
      *event = new int64_t;
    }
    device().host_ns += device().script.event_ns;
    instant(*event) = std::max(device().host_ns, device().idle_at_ns[s.id()]);
  }
  void block(void* event, const c10::Stream& s) const override {
    auto& idle_at_ns = device().idle_at_ns[s.id()];
    idle_at_ns = std::max(idle_at_ns, instant(event));
  }
  bool queryEvent(void* event) const override { return instant(event) <= device().host_ns; }
  void synchronizeEvent(void* event) const override { wait_until(instant(event)); }
  double elapsedTime(void* start, void* end, c10::DeviceIndex) const override {
    return static_cast<double>(instant(end) - instant(start)) / 1e6;
  }
  void destroyEvent(void* event, c10::DeviceIndex) const noexcept override { delete static_cast<int64_t*>(event); }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return device().has_context; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::Device getDeviceFromPtr(void*) const override { return kFirst; }
  bool isPinnedPtr(const void* data) const override { return PinnedAllocator::instance().holds(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &PinnedAllocator::instance(); }
};

// ---- operations ---------------------------------------------------------------------------------------------------

// While the CPU stands in for the device: copies to and fro are the simulation's own and cost nothing. The real time
// that it takes is kept, so that whoever mixes real and virtual time can leave it out.
class StandingIn {
 public:
  static inline int depth = 0;
  static inline std::chrono::nanoseconds real_time{0};
  StandingIn() { ++depth; }
  ~StandingIn() {
    if (--depth == 0) {
      real_time += std::chrono::steady_clock::now() - since_;
    }
  }

 private:
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &Allocator::instance(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &Allocator::instance(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(dtype));
}

// The same storage seen as a CPU tensor.
at::Tensor on_host(const at::Tensor& tensor) {
  if (!tensor.is_privateuseone()) {
    return tensor;
  }
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  {
    const StandingIn quiet;
    on_host(to).copy_(on_host(from));
  }
  if (StandingIn::depth > 0) {
    return to;
  }
  if (from.is_privateuseone() && to.is_privateuseone()) {
    charge_operation("aten::copy_", {from.sizes().vec()});
    return to;
  }
  touch();
  const auto& host_side = from.is_privateuseone() ? to : from;
  const bool pinned = PinnedAllocator::instance().holds(host_side.data_ptr());
  const auto& script = device().script;
  enqueue(static_cast<int64_t>(to.nbytes()) * (pinned ? script.pinned_ns_per_byte : script.pageable_ns_per_byte));
  if (!(pinned && non_blocking)) {
    wait_until(current_idle_at());
  }
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

const at::Tensor& resize_(const at::Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat>) {
  auto* tensor = self.unsafeGetTensorImpl();
  tensor->set_sizes_contiguous(size);
  const size_t needed = self.nbytes() + self.storage_offset() * self.itemsize();
  if (needed > self.storage().nbytes()) {
    auto grown = Allocator::instance().allocate(needed);
    std::memcpy(grown.get(), self.storage().data(), self.storage().nbytes());
    self.storage().set_data_ptr(std::move(grown));
    self.storage().set_nbytes(needed);
  }
  return self;
}

at::Tensor as_strided(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride,
                      std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}

at::Tensor reshape_alias(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride) {
  return at::native::_reshape_alias(self, size, stride);
}

at::Scalar local_scalar_dense(const at::Tensor& self) {
  wait_until(current_idle_at());
  return on_host(self).item();
}

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, int64_t groups) {
  charge_operation("aten::convolution", {input.sizes().vec(), weight.sizes().vec()});
  const StandingIn quiet;
  const auto host_bias = bias.has_value() ? std::optional(on_host(*bias)) : std::nullopt;
  return at::convolution(on_host(input), on_host(weight), host_bias, stride, padding, dilation, transposed,
                         output_padding, groups)
      .to(kFirst);
}

void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  Shapes shapes;
  for (const auto& argument : torch::jit::last(*stack, op.schema().arguments().size())) {
    if (argument.isTensor() && argument.toTensor().defined()) {
      shapes.push_back(argument.toTensor().sizes().vec());
    }
  }
  charge_operation(op.schema().name(), shapes);
  const StandingIn quiet;
  at::native::cpu_fallback(op, stack);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("resize_", &resize_);
  m.impl("view", &at::native::view);
  m.impl("as_strided", &as_strided);
  m.impl("_reshape_alias", &reshape_alias);
  m.impl("_local_scalar_dense", &local_scalar_dense);
  m.impl("convolution_overrideable", &convolution);
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

}  // namespace

PYBIND11_MODULE(simgpu, m) {
  c10::SetAllocator(kDevice, &Allocator::instance());
  at::RegisterPrivateUse1HooksInterface(new Hooks);

  pybind11::class_<Script>(m, "Script")
      .def(pybind11::init<>())
      .def_readwrite("op_cost_ns", &Script::op_cost_ns)
      .def_readwrite("launch_ns", &Script::launch_ns)
      .def_readwrite("event_ns", &Script::event_ns)
      .def_readwrite("context_ns", &Script::context_ns)
      .def_readwrite("first_call_ns", &Script::first_call_ns)
      .def_readwrite("autotune_ns", &Script::autotune_ns)
      .def_readwrite("ramp_ns", &Script::ramp_ns)
      .def_readwrite("ramp_factor", &Script::ramp_factor)
      .def_readwrite("pageable_ns_per_byte", &Script::pageable_ns_per_byte)
      .def_readwrite("pinned_ns_per_byte", &Script::pinned_ns_per_byte)
      .def_readwrite("total_bytes", &Script::total_bytes)
      .def_readwrite("segment_bytes", &Script::segment_bytes)
      .def_readwrite("fail_after", &Script::fail_after);

  // A new device with this script; tensors of the old one go on counting as allocated.
  m.def("reset", [](const Script& script) {
    device() = Device{};
    device().script = script;
    Allocator::instance().emptyCache({0, 0});
    Allocator::instance().resetPeakStats(0);
  });
  m.def("host_ns", [] { return device().host_ns; });
  m.def("advance_host", [](int64_t ns) { device().host_ns += ns; });
  m.def("occupy", [](c10::StreamId stream, int64_t ns) {
    auto& idle_at_ns = device().idle_at_ns[stream];
    idle_at_ns = std::max(device().host_ns, idle_at_ns) + ns;
  });
  m.def("standing_in_ns", [] { return StandingIn::real_time.count(); });
  m.def("operations", [] { return device().operations; });
  m.def("set_memory_fraction", [](double fraction) { device().memory_fraction = fraction; });
}
