// The functions of WasmEdge that are used. The only file that includes its header.
//
// The library is loaded when a module is opened, and not with the program: it brings LLVM, whose
// relocations alone would make each start of topspin slower.
#pragma once

#include <wasmedge/wasmedge.h>

#include "core/base/result.h"

namespace topspin {

// clang-format off
#define TOPSPIN_WASMEDGE(use) \
  use(VersionGetMajor) use(VersionGetMinor) use(LogOff) use(ConfigureCreate) \
  use(ConfigureDelete) use(ConfigureSetForceInterpreter) use(ConfigureSetMaxMemoryPage) \
  use(ConfigureStatisticsSetCostMeasuring) use(StatisticsCreate) use(StatisticsDelete) \
  use(StatisticsClear) use(StatisticsSetCostLimit) use(LoaderCreate) use(LoaderDelete) \
  use(LoaderParseFromBuffer) use(ValidatorCreate) use(ValidatorDelete) use(ValidatorValidate) \
  use(ASTModuleDelete) use(ASTModuleListImportsLength) use(ASTModuleListImports) \
  use(ImportTypeGetModuleName) use(ImportTypeGetExternalName) use(ImportTypeGetExternalType) \
  use(ImportTypeGetFunctionType) use(StoreCreate) use(StoreDelete) use(ExecutorCreate) \
  use(ExecutorDelete) use(ExecutorRegisterImport) use(ExecutorInstantiate) use(ExecutorInvoke) \
  use(ModuleInstanceCreate) use(ModuleInstanceDelete) use(ModuleInstanceAddFunction) \
  use(ModuleInstanceFindFunction) use(FunctionTypeCreate) use(FunctionTypeDelete) \
  use(FunctionTypeGetParametersLength) use(FunctionTypeGetParameters) \
  use(FunctionTypeGetReturnsLength) use(FunctionTypeGetReturns) use(FunctionInstanceCreate) \
  use(FunctionInstanceGetFunctionType) use(MemoryInstanceGetPointer) \
  use(CallingFrameGetMemoryInstance) use(ResultOK) use(ResultGetCode) use(ResultGetMessage) \
  use(ValTypeGenI32) use(ValTypeGenI64) use(ValTypeIsI32) use(ValTypeIsI64) use(ValueGenI32) \
  use(ValueGenI64) use(ValueGetI32) use(ValueGetI64)
// clang-format on

struct WasmEdge {
#define TOPSPIN_DECLARE(name) decltype(&::WasmEdge_##name) name = nullptr;
  TOPSPIN_WASMEDGE(TOPSPIN_DECLARE)
#undef TOPSPIN_DECLARE
};

/// Loaded once. kUnsupported says which package is missing.
Result<const WasmEdge*> load_wasmedge();

}  // namespace topspin
