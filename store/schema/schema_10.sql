-- Schema 10. What has changed in the flows of a run since their rows were written: one blob per tick with many changes,
-- in the order of the ticks. The writer moves them into the rows now and then, and at the end. `changes`: see
-- store/flows/flow_changes.h.
CREATE TABLE flow_change (
  row     INTEGER PRIMARY KEY,
  changes BLOB NOT NULL
) STRICT;
