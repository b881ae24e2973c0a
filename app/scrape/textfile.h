// Textfile: writes a MetricsPage to a file every few seconds, as the textfile collector of
// node_exporter reads it.
//
// The new text is written to FILE.tmp and renamed, so a reader sees an old text or a new one, never
// a part. The directory is opened while the recording may still do so, and the rename is relative
// to it: the only one that the sandbox allows. A thread of its own, since the disk may be slow. At
// the end the file is removed: numbers of a recorder that has ended are not the host's.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "app/scrape/metrics_page.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

class Textfile {
 public:
  static constexpr int kEverySeconds = 5;

  /// kUsage if the name does not end with .prom, which the collector wants; kOutput or kPermission
  /// if its directory cannot be opened.
  static Result<std::unique_ptr<Textfile>> open(const std::string& path);
  ~Textfile();
  Textfile(const Textfile&) = delete;
  Textfile& operator=(const Textfile&) = delete;

  /// Writes it once, and from then on every kEverySeconds. `page` must live longer.
  Status serve(const MetricsPage& page);

  int directory_fd() const { return directory_.get(); }
  /// Why the last text could not be written; each reason is returned once.
  std::optional<std::string> take_problem();

 private:
  Textfile(UniqueFd directory, std::string path, std::string name)
      : directory_(std::move(directory)), path_(std::move(path)), name_(std::move(name)) {}
  Status write_now();
  void run();

  UniqueFd directory_;
  std::string path_;
  std::string name_;  // within the directory
  const MetricsPage* page_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;  // guarded by mutex_, as is what follows
  std::optional<std::string> problem_;
  std::string last_problem_;
  std::thread thread_;
};

}  // namespace topspin
