// A worker: registers in the store, waits for loads, and sends its share of each. docs/workers.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "load/wire/address_prefix.h"

namespace topspin {

struct WorkerOptions {
  std::string address;  // of the store
  std::map<std::string, std::string> labels;
  std::vector<AddressPrefix> allowed;  // empty: any target
  std::string allowed_text;
  int64_t clock_skew_ns = 0;  // for tests
};

/// Works until `stop` is set: then it hands over its clients, if it has any, and ends. It outlives
/// an absence of the store; only what is wrong at the beginning is an error. `tell` gets a sentence
/// for each change.
Status run_worker(const WorkerOptions& options, const std::atomic<bool>& stop,
                  const std::function<void(const std::string&)>& tell);

/// An id for a worker or a load, which no other one has.
std::string new_worker_id();

}  // namespace topspin
