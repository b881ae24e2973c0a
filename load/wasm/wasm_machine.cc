#include "load/wasm/wasm_machine.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/text.h"
#include "load/wasm/guest_stack.h"
#include "load/wasm/guest_watch.h"
#include "load/wasm/module_limits.h"
#include "load/wasm/wasmedge.h"

namespace topspin {
namespace {

constexpr std::string_view kMemoryIsShort =
    "the memory of all scripts has reached its limit; raise --script-memory";

WasmEdge_String wasm_name(std::string_view text) {
  return {static_cast<uint32_t>(text.size()), text.data()};
}

std::string_view text_of(WasmEdge_String name) { return {name.Buf, name.Length}; }

}  // namespace

struct WasmMachine::Parts {
  struct Binding {
    Parts* machine;
    size_t import;
  };

  explicit Parts(const WasmEdge& functions) : edge(functions) {}
  ~Parts();
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  Status load(std::string_view bytes, std::span<const WasmImport> imports);
  Status add_imports();
  Status check_imports() const;
  bool has_type(const WasmEdge_FunctionTypeContext* function, std::string_view type) const;
  Error wrong(std::string_view what) const {
    return make_error(ErrorCode::kUsage, fmt::format("{}: {}", name, what));
  }
  std::string reason_of(WasmEdge_Result result) const;
  static WasmEdge_Result called(void* binding, const WasmEdge_CallingFrameContext* frame,
                                const WasmEdge_Value* arguments, WasmEdge_Value* results);
  void begin_slice() {
    edge.StatisticsClear(statistics);
    edge.StatisticsSetCostLimit(statistics, kMostInstructions);
    is_new_slice = true;
  }

  const WasmEdge& edge;
  std::string name;
  std::span<const WasmImport> imports;
  WasmEdge_ConfigureContext* configure = nullptr;
  WasmEdge_StatisticsContext* statistics = nullptr;
  WasmEdge_ASTModuleContext* module = nullptr;
  WasmEdge_StoreContext* store = nullptr;
  WasmEdge_ExecutorContext* executor = nullptr;
  std::vector<WasmEdge_ModuleInstanceContext*> import_modules;
  std::vector<std::unique_ptr<Binding>> bindings;
  std::unique_ptr<GuestWatch> watch;
  Instance* running = nullptr;
  bool is_new_slice = false;
  uint32_t instances = 0;
};

struct WasmMachine::Instance::Guest {
  explicit Guest(const WasmEdge& functions) : edge(functions) {}
  ~Guest() {
    if (module != nullptr) edge.ModuleInstanceDelete(module);
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  const WasmEdge& edge;
  WasmEdge_ModuleInstanceContext* module = nullptr;
  WasmEdge_MemoryInstanceContext* memory = nullptr;  // of the last call
  std::unique_ptr<GuestStack> stack;
};

// ----- the module -----

WasmMachine::Parts::~Parts() {
  watch.reset();  // it may use the statistics
  if (executor != nullptr) edge.ExecutorDelete(executor);
  if (store != nullptr) edge.StoreDelete(store);
  for (WasmEdge_ModuleInstanceContext* one : import_modules) edge.ModuleInstanceDelete(one);
  if (module != nullptr) edge.ASTModuleDelete(module);
  if (statistics != nullptr) edge.StatisticsDelete(statistics);
  if (configure != nullptr) edge.ConfigureDelete(configure);
}

/// WasmEdge's words, but for the limits.
std::string WasmMachine::Parts::reason_of(WasmEdge_Result result) const {
  if (edge.ResultGetCode(result) == WasmEdge_ErrCode_CostLimitExceeded)
    return fmt::format("it ran {} million instructions without waiting",
                       kMostInstructions / 1'000'000);
  return sanitize_for_terminal(edge.ResultGetMessage(result));
}

Status WasmMachine::Parts::load(std::string_view bytes, std::span<const WasmImport> all_imports) {
  imports = all_imports;
  configure = edge.ConfigureCreate();
  // A module may carry native code beside its instructions.
  edge.ConfigureSetForceInterpreter(configure, true);
  edge.ConfigureSetMaxMemoryPage(configure, kMostWasmPages);
  edge.ConfigureStatisticsSetCostMeasuring(configure, true);
  statistics = edge.StatisticsCreate();
  WasmEdge_LoaderContext* const loader = edge.LoaderCreate(configure);
  const WasmEdge_Result parsed =
      edge.LoaderParseFromBuffer(loader, &module, reinterpret_cast<const uint8_t*>(bytes.data()),
                                 static_cast<uint32_t>(bytes.size()));
  edge.LoaderDelete(loader);
  if (!edge.ResultOK(parsed)) return wrong(reason_of(parsed));
  WasmEdge_ValidatorContext* const validator = edge.ValidatorCreate(configure);
  const WasmEdge_Result valid = edge.ValidatorValidate(validator, module);
  edge.ValidatorDelete(validator);
  if (!edge.ResultOK(valid)) return wrong(reason_of(valid));
  TOPSPIN_TRY(check_imports());
  store = edge.StoreCreate();
  executor = edge.ExecutorCreate(configure, statistics);
  return add_imports();
}

bool WasmMachine::Parts::has_type(const WasmEdge_FunctionTypeContext* function,
                                  std::string_view type) const {
  const auto is = [&](const WasmEdge_ValType& value, char letter) {
    return letter == 'i' ? edge.ValTypeIsI32(value) : edge.ValTypeIsI64(value);
  };
  std::string_view parameters = type.substr(0, type.find(':'));
  std::string_view results = type.substr(std::min(parameters.size() + 1, type.size()));
  std::array<WasmEdge_ValType, kMostArguments> types{};
  if (edge.FunctionTypeGetParametersLength(function) != parameters.size() ||
      edge.FunctionTypeGetReturnsLength(function) != results.size())
    return false;
  (void)edge.FunctionTypeGetParameters(function, types.data(), types.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!is(types[i], parameters[i])) return false;
  }
  (void)edge.FunctionTypeGetReturns(function, types.data(), types.size());
  return results.empty() || is(types[0], results[0]);
}

Status WasmMachine::Parts::check_imports() const {
  std::vector<const WasmEdge_ImportTypeContext*> wanted(edge.ASTModuleListImportsLength(module));
  (void)edge.ASTModuleListImports(module, wanted.data(), static_cast<uint32_t>(wanted.size()));
  for (const WasmEdge_ImportTypeContext* one : wanted) {
    const std::string_view from = text_of(edge.ImportTypeGetModuleName(one));
    const std::string_view what = text_of(edge.ImportTypeGetExternalName(one));
    const std::string shown = sanitize_for_terminal(fmt::format("{}.{}", from, what));
    if (edge.ImportTypeGetExternalType(one) != WasmEdge_ExternalType_Function)
      return wrong(
          fmt::format("it imports {}, which is no function; only functions can be "
                      "imported, and memory is the module's own",
                      shown));
    const auto found = std::find_if(imports.begin(), imports.end(), [&](const WasmImport& import) {
      return import.module == from && import.name == what;
    });
    if (found == imports.end()) {
      return wrong(
          fmt::format("it imports {}, which there is not; docs/scenarios/topspin.h has "
                      "what there is",
                      shown));
    }
    if (!has_type(edge.ImportTypeGetFunctionType(module, one), found->type))
      return wrong(
          fmt::format("it imports {} with other parameters than it has; "
                      "docs/scenarios/topspin.h has them",
                      shown));
  }
  return {};
}

Status WasmMachine::Parts::add_imports() {
  for (size_t i = 0; i < imports.size(); ++i) {
    const WasmImport& import = imports[i];
    if (i == 0 || import.module != imports[i - 1].module)
      import_modules.push_back(edge.ModuleInstanceCreate(wasm_name(import.module)));
    std::vector<WasmEdge_ValType> parameters, results;
    bool is_result = false;
    for (const char letter : import.type) {
      if (letter == ':')
        is_result = true;
      else
        (is_result ? results : parameters)
            .push_back(letter == 'i' ? edge.ValTypeGenI32() : edge.ValTypeGenI64());
    }
    CHECK(parameters.size() <= kMostArguments);
    WasmEdge_FunctionTypeContext* const type =
        edge.FunctionTypeCreate(parameters.data(), static_cast<uint32_t>(parameters.size()),
                                results.data(), static_cast<uint32_t>(results.size()));
    bindings.push_back(std::make_unique<Binding>(Binding{this, i}));
    edge.ModuleInstanceAddFunction(
        import_modules.back(), wasm_name(import.name),
        edge.FunctionInstanceCreate(type, called, bindings.back().get(), 0));
    edge.FunctionTypeDelete(type);
  }
  for (WasmEdge_ModuleInstanceContext* one : import_modules) {
    const WasmEdge_Result registered = edge.ExecutorRegisterImport(executor, store, one);
    if (!edge.ResultOK(registered))
      return make_error(ErrorCode::kInternal, "WasmEdge: " + reason_of(registered));
  }
  return {};
}

/// On the guest's stack: hands the call over to whoever runs the guest, and waits for the answer.
WasmEdge_Result WasmMachine::Parts::called(void* binding, const WasmEdge_CallingFrameContext* frame,
                                           const WasmEdge_Value* arguments,
                                           WasmEdge_Value* results) {
  const auto& bound = *static_cast<const Binding*>(binding);
  const WasmEdge& edge = bound.machine->edge;
  Instance* const instance = bound.machine->running;
  if (instance == nullptr) return WasmEdge_Result_Fail;  // a start function: nobody could answer
  const std::string_view type = bound.machine->imports[bound.import].type;
  const std::string_view parameters = type.substr(0, type.find(':'));
  instance->has_called_ = true;
  instance->call_.import = bound.import;
  for (size_t i = 0; i < parameters.size(); ++i) {
    instance->call_.arguments[i] = parameters[i] == 'i'
                                       ? static_cast<uint32_t>(edge.ValueGetI32(arguments[i]))
                                       : static_cast<uint64_t>(edge.ValueGetI64(arguments[i]));
  }
  instance->result_ = 0;
  instance->guest_->memory = edge.CallingFrameGetMemoryInstance(frame, 0);
  instance->guest_->stack->suspend();
  if (instance->is_ended_by_us_) return WasmEdge_Result_Terminate;
  if (parameters.size() < type.size()) {
    results[0] = type.back() == 'i' ? edge.ValueGenI32(static_cast<int32_t>(instance->result_))
                                    : edge.ValueGenI64(static_cast<int64_t>(instance->result_));
  }
  return WasmEdge_Result_Success;
}

// ----- the machine -----

WasmMachine::WasmMachine(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
WasmMachine::~WasmMachine() = default;

Result<std::unique_ptr<WasmMachine>> WasmMachine::open(std::string_view bytes,
                                                       const std::string& name,
                                                       std::span<const WasmImport> imports,
                                                       uint64_t most_bytes) {
  TOPSPIN_TRY(check_module_limits(bytes, name));
  TOPSPIN_ASSIGN(const WasmEdge* const edge, load_wasmedge());
  auto parts = std::make_unique<Parts>(*edge);
  parts->name = name;
  TOPSPIN_TRY(parts->load(bytes, imports));
  Parts& all = *parts;
  // The limit of instructions is plain memory of WasmEdge's, which it reads before each of them.
  parts->watch = std::make_unique<GuestWatch>(
      kMostCpuNs, most_bytes, [&all] { all.edge.StatisticsSetCostLimit(all.statistics, 0); });
  return std::unique_ptr<WasmMachine>(new WasmMachine(std::move(parts)));
}

void WasmMachine::begin_slice() { parts_->begin_slice(); }
uint64_t WasmMachine::most_used_bytes() const { return parts_->watch->most_used_bytes(); }

Result<std::unique_ptr<WasmMachine::Instance>> WasmMachine::make_instance() {
  Parts& machine = *parts_;
  const WasmEdge& edge = machine.edge;
  // WasmEdge would leave the memory empty for which it finds no addresses.
  if (machine.instances == kMostInstances)
    return machine.wrong(fmt::format("at most {} instances can run at once", kMostInstances));
  auto guest = std::make_unique<Instance::Guest>(edge);
  machine.begin_slice();
  machine.running = nullptr;
  if (machine.watch->begin(std::exchange(machine.is_new_slice, false)) != GuestWatch::Why::kNothing)
    return machine.wrong(kMemoryIsShort);
  const WasmEdge_Result made =
      edge.ExecutorInstantiate(machine.executor, &guest->module, machine.store, machine.module);
  const GuestWatch::Why why = machine.watch->end();
  if (why == GuestWatch::Why::kMemory) return machine.wrong(kMemoryIsShort);
  if (why == GuestWatch::Why::kTime)
    return machine.wrong("its start function ran for 1 s of CPU time");
  if (!edge.ResultOK(made)) {
    // A memory for which there are no addresses is empty, so its data do not fit.
    const bool is_outside = edge.ResultGetCode(made) == WasmEdge_ErrCode_MemoryOutOfBounds;
    return machine.wrong(fmt::format(
        "it does not start: {}{}", machine.reason_of(made),
        is_outside ? "; its data do not fit into its memory, or the process may have no more "
                     "addresses (ulimit -v)"
                   : ""));
  }
  return std::unique_ptr<Instance>(new Instance(machine, std::move(guest)));
}

// ----- an instance -----

WasmMachine::Instance::Instance(Parts& machine, std::unique_ptr<Guest> guest)
    : machine_(machine), guest_(std::move(guest)) {
  ++machine_.instances;
}

WasmMachine::Instance::~Instance() {
  if (guest_->stack && !guest_->stack->has_ended()) {
    end_with({});
    machine_.begin_slice();
    (void)run(id_);
  }
  --machine_.instances;
}

void WasmMachine::Instance::end_with(std::string error) {
  is_ended_by_us_ = true;
  error_ = std::move(error);
}

std::optional<std::span<uint8_t>> WasmMachine::Instance::memory(uint64_t offset, uint64_t length) {
  if (length == 0) return std::span<uint8_t>();
  if (guest_->memory == nullptr || length > kMostWasmPages * kWasmPageBytes ||
      offset + length > kMostWasmPages * kWasmPageBytes)
    return std::nullopt;
  uint8_t* const bytes = machine_.edge.MemoryInstanceGetPointer(
      guest_->memory, static_cast<uint32_t>(offset), static_cast<uint32_t>(length));
  if (bytes == nullptr) return std::nullopt;
  return std::span<uint8_t>(bytes, length);
}

/// On the guest's stack.
void WasmMachine::Instance::body() {
  const WasmEdge& edge = machine_.edge;
  const auto call = [&](std::string_view name) {
    const WasmEdge_FunctionInstanceContext* const function =
        edge.ModuleInstanceFindFunction(guest_->module, wasm_name(name));
    if (function == nullptr) return false;
    const WasmEdge_FunctionTypeContext* const type = edge.FunctionInstanceGetFunctionType(function);
    const uint32_t parameters = edge.FunctionTypeGetParametersLength(type);
    const uint32_t results = edge.FunctionTypeGetReturnsLength(type);
    const bool takes_id = name == "client" && machine_.has_type(type, results == 0 ? "i" : "i:i");
    if (!takes_id && parameters != 0) {
      has_failed_ = true;
      error_ = fmt::format("its function {} takes other parameters than a number of 32 bits", name);
      return true;
    }
    const WasmEdge_Value id = edge.ValueGenI32(static_cast<int32_t>(id_));
    std::array<WasmEdge_Value, 1> result{};
    if (results > result.size()) {
      has_failed_ = true;
      error_ = fmt::format("its function {} returns more than one result", name);
      return true;
    }
    const WasmEdge_Result ended =
        edge.ExecutorInvoke(machine_.executor, function, &id, parameters, result.data(), results);
    if (is_ended_by_us_) {
      has_failed_ = !error_.empty();
    } else if (!edge.ResultOK(ended)) {
      has_failed_ = true;
      error_ = machine_.reason_of(ended);
    }
    return true;
  };
  const bool has_client =
      edge.ModuleInstanceFindFunction(guest_->module, wasm_name("client")) != nullptr;
  if (!has_client && call("_start")) return;
  // A module of many calls prepares itself before the first.
  (void)call("_initialize");
  if (has_failed_ || is_ended_by_us_) return;
  if (!call("client")) {
    has_failed_ = true;
    error_ = "it exports neither client nor _start, so there is nothing to run";
  }
}

WasmMachine::Event WasmMachine::Instance::run(uint32_t id) {
  id_ = id;
  const auto failed = [&](std::string error) {
    has_failed_ = true;
    error_ = std::move(error);
    return Event::kFailed;
  };
  if (!guest_->stack) {
    auto stack = GuestStack::make([this] { body(); });
    if (!stack.ok()) return failed(stack.error().message);
    guest_->stack = std::move(*stack);
  }
  // One that is to end must end, however short memory is.
  GuestWatch::Why why = machine_.watch->begin(std::exchange(machine_.is_new_slice, false));
  if (why == GuestWatch::Why::kNothing || is_ended_by_us_) {
    machine_.running = this;
    guest_->stack->resume();
    machine_.running = nullptr;
    why = machine_.watch->end();
  }
  if (is_ended_by_us_) return has_failed_ ? Event::kFailed : Event::kReturned;
  if (why == GuestWatch::Why::kTime) return failed("it ran for 1 s of CPU time without waiting");
  if (why == GuestWatch::Why::kMemory) return failed(std::string(kMemoryIsShort));
  if (!guest_->stack->has_ended()) return Event::kCalled;
  return has_failed_ ? Event::kFailed : Event::kReturned;
}

}  // namespace topspin
