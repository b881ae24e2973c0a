-- Schema 6: the addresses that the subject called, as they stood at the end.
CREATE TABLE called (
  run                 INTEGER NOT NULL REFERENCES run (run),
  number              INTEGER NOT NULL,
  protocol            INTEGER NOT NULL,
  ip_version          INTEGER NOT NULL,
  address             TEXT NOT NULL,
  port                INTEGER NOT NULL,
  requests            INTEGER NOT NULL,
  unanswered          INTEGER NOT NULL,
  resets              INTEGER NOT NULL,
  refused             INTEGER NOT NULL,
  never_completed     INTEGER NOT NULL,
  http_errors         INTEGER NOT NULL,
  hidden_connections  INTEGER NOT NULL,
  hidden_by_interface INTEGER NOT NULL,
  latency_ns          BLOB NOT NULL,
  PRIMARY KEY (run, number)
) STRICT;
