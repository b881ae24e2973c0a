#include "app/recording/sources/event_loop.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

namespace topspin {

void EventLoop::add(std::function<int()> descriptor, std::function<void()> on_readable) {
  sources_.push_back({std::move(descriptor), std::move(on_readable)});
}

Status EventLoop::wait(int timeout_ms) const {
  std::vector<pollfd> fds;
  fds.reserve(sources_.size());
  for (const Source& source : sources_) fds.push_back({source.descriptor(), POLLIN, 0});
  const int ready = poll(fds.data(), fds.size(), timeout_ms);
  if (ready < 0 && errno != EINTR)
    return make_error(ErrorCode::kInternal, fmt::format("poll: {}", std::strerror(errno)), errno);
  for (size_t i = 0; ready > 0 && i < sources_.size(); ++i) {
    if (fds[i].revents != 0) sources_[i].on_readable();
  }
  return {};
}

}  // namespace topspin
