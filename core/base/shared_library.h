// A shared library that is loaded when it is first needed, so that topspin starts without it.
#pragma once

#include <string>
#include <string_view>

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/auxv.h>

#include "core/base/result.h"

namespace topspin {

/// It stays loaded until the program ends, also when this object is gone.
class SharedLibrary {
 public:
  /// What is said if it cannot be loaded: "`needed` (why); `remedy`", and in a program that is
  /// linked statically "this topspin is linked statically and cannot load `if_static`".
  struct Texts {
    std::string_view needed, remedy, if_static;
  };

  /// `file`: "libpq.so.5"; the dynamic linker searches for it. Errors are kUnsupported.
  static Result<SharedLibrary> open(const char* file, const Texts& texts) {
    // A program without a dynamic linker cannot load a library.
    if (::getauxval(AT_BASE) == 0) {
      return make_error(
          ErrorCode::kUnsupported,
          fmt::format("this topspin is linked statically and cannot load {}", texts.if_static));
    }
    void* handle = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) return SharedLibrary(handle);
    const char* why = ::dlerror();
    return make_error(ErrorCode::kUnsupported,
                      fmt::format("{} ({}); {}", texts.needed,
                                  why == nullptr ? "it cannot be loaded" : why, texts.remedy));
  }

  /// Sets `function` to null if the library does not have it.
  template <typename Function>
  void find(const char* symbol, Function*& function) {
    function = reinterpret_cast<Function*>(::dlsym(handle_, symbol));
    if (function == nullptr && missing_.empty()) missing_ = symbol;
  }

  /// The first symbol that was not found; empty: all were.
  const std::string& missing() const { return missing_; }

 private:
  explicit SharedLibrary(void* handle) : handle_(handle) {}

  void* handle_;
  std::string missing_;
};

}  // namespace topspin
