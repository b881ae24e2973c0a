-- Schema 9. Distributions of a load that only some loads have, by kind and name: the TLS handshakes. Runs that were
-- recorded before have no rows.
CREATE TABLE load_distribution (
  run       INTEGER NOT NULL REFERENCES run (run),
  kind      TEXT NOT NULL,
  name      TEXT NOT NULL,
  histogram BLOB NOT NULL,
  PRIMARY KEY (run, kind, name)
) STRICT, WITHOUT ROWID;
