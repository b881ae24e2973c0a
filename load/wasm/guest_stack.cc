#include "load/wasm/guest_stack.h"

#include <utility>

#include <boost/context/fiber.hpp>
#include <sys/mman.h>

#include "core/base/check.h"
#include "core/base/result.h"

// The address sanitizer must be told about each change of stacks.
#if defined(__SANITIZE_ADDRESS__)
#define TOPSPIN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TOPSPIN_ASAN 1
#endif
#endif
#if TOPSPIN_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace topspin {
namespace {

constexpr size_t kGuardBytes = 4096;

/// Gives boost a stack that somebody else owns.
struct OwnedStack {
  void* lowest;
  boost::context::stack_context allocate() const {
    boost::context::stack_context stack;
    stack.size = GuestStack::kBytes;
    stack.sp = static_cast<char*>(lowest) + GuestStack::kBytes;
    return stack;
  }
  static void deallocate(boost::context::stack_context&) noexcept {}
};

}  // namespace

struct GuestStack::Context {
  boost::context::fiber guest, caller;
#if TOPSPIN_ASAN
  const void* callers_stack = nullptr;
  size_t callers_bytes = 0;
#endif
};

GuestStack::GuestStack() : context_(std::make_unique<Context>()) {}

Result<std::unique_ptr<GuestStack>> GuestStack::make(std::function<void()> body) {
  std::unique_ptr<GuestStack> stack(new GuestStack());
  void* const mapping = ::mmap(nullptr, kGuardBytes + kBytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapping == MAP_FAILED) return os_error("mmap of a guest's stack");
  stack->mapping_ = mapping;
  if (::mprotect(mapping, kGuardBytes, PROT_NONE) != 0)
    return os_error("mprotect of a guest's stack");
  stack->body_ = std::move(body);
  return stack;
}

GuestStack::~GuestStack() {
  CHECK(has_ended_ || !has_begun_);
  if (mapping_ != nullptr) CHECK(::munmap(mapping_, kGuardBytes + kBytes) == 0);
}

void GuestStack::resume() {
  CHECK(!has_ended_);
  Context& context = *context_;
  void* const lowest = static_cast<char*>(mapping_) + kGuardBytes;
  if (!std::exchange(has_begun_, true)) {
    context.guest = boost::context::fiber(
        std::allocator_arg, OwnedStack{lowest}, [this](boost::context::fiber&& caller) {
          Context& own = *context_;
#if TOPSPIN_ASAN
          __sanitizer_finish_switch_fiber(nullptr, &own.callers_stack, &own.callers_bytes);
#endif
          own.caller = std::move(caller);
          body_();
          has_ended_ = true;
#if TOPSPIN_ASAN
          __sanitizer_start_switch_fiber(nullptr, own.callers_stack, own.callers_bytes);
#endif
          return std::move(own.caller);
        });
  }
#if TOPSPIN_ASAN
  void* callers_fake = nullptr;
  __sanitizer_start_switch_fiber(&callers_fake, lowest, kBytes);
#endif
  context.guest = std::move(context.guest).resume();
#if TOPSPIN_ASAN
  __sanitizer_finish_switch_fiber(callers_fake, nullptr, nullptr);
#endif
}

void GuestStack::suspend() {
  Context& context = *context_;
#if TOPSPIN_ASAN
  void* guests_fake = nullptr;
  __sanitizer_start_switch_fiber(&guests_fake, context.callers_stack, context.callers_bytes);
#endif
  context.caller = std::move(context.caller).resume();
#if TOPSPIN_ASAN
  __sanitizer_finish_switch_fiber(guests_fake, &context.callers_stack, &context.callers_bytes);
#endif
}

}  // namespace topspin
