// FlowChanges: what has changed in the flows of a run since their rows in table flow were last
// written.
//
// A tick may change thousands of rows that lie far apart. To rewrite each in place costs a page per
// row. So a tick's changes are appended as one blob (table flow_change), and the writer moves many
// ticks' changes into the rows at once, in the order of the rows (flow_writer.h). Until then a
// reader takes a flow's last change instead of what its row has.
//
// A blob has the byte 1 and a count, and then for each row, in ascending order of their numbers:
// how many bytes follow; how much greater its number is than the one before; flags, one for
// `initiator_is_low` and then one for each bool (its value) and optional value (whether it is
// there) in the order of for_each_changing_flow_column(); and each other value that is there, as
// its difference to that of the blob's first row. All numbers are varints, differences in zigzag
// code. Private to store.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/flow/flow.h"
#include "store/sqlite/row_values.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

/// A flow and its number within the run.
struct NumberedFlow {
  uint32_t number;
  const FlowRow* flow;
};

/// The blob for these flows, whose numbers ascend. Counts beyond kMostStored are stored as that.
std::string encode_flow_changes(std::span<const NumberedFlow> flows);

/// All columns of table flow: the changing ones, the fixed ones, both ends, and the row.
ColumnNames flow_table_columns();

/// The statement that sets the changing columns of a row of `table`. Its parameters are these in
/// their order, and the row.
std::string changed_flow_sql(std::string_view table);

/// The last change of each flow in blobs that were added in the order of their ticks.
class FlowChanges {
 public:
  static constexpr size_t kColumns = 22;
  using Values = std::array<uint64_t, kColumns>;

  /// Reads the blobs of a run, from the position `first` to `last`.
  static Result<FlowChanges> load(Connection& connection, int64_t run, uint32_t first,
                                  uint32_t last);
  /// Reads all blobs of a run.
  static Result<FlowChanges> load(Connection& connection, int64_t run);

  /// False if the bytes are damaged; what was added before stays.
  bool add(std::string blob);
  /// Call this after the last add().
  void sort();

  bool empty() const { return places_.empty(); }
  size_t size() const { return places_.size(); }
  /// The flow's number, by position in ascending order.
  uint32_t number(size_t position) const { return places_[position].number; }
  /// Sets the changing columns, and `initiator_is_low`. False if the bytes are damaged.
  bool read(size_t position, FlowRow& flow) const;
  /// Brings the flow up to date if it has changed. False if the bytes are damaged.
  bool apply(uint32_t number, FlowRow& flow) const;
  /// Runs `update`, prepared from changed_flow_sql(), with the values of a flow of this run.
  Status store(const Connection& connection, size_t position, int64_t run, Statement& update) const;

 private:
  struct Place {
    uint32_t number;
    uint32_t blob;
    uint32_t offset, size;  // of the flags and values
  };
  struct Blob {
    std::string bytes;
    Values first{};  // the values of its first row
    uint32_t first_offset = 0;
  };

  std::vector<Blob> blobs_;
  std::vector<Place> places_;
};

/// Makes the name `flow` mean the flows as last changed, for the statements of this connection.
/// Does nothing if each row is up to date.
Status read_flows_as_last_changed(Connection& connection);

}  // namespace topspin
