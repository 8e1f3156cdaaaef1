-- Collections of values, each a JSON document under a kind and a key.
CREATE TABLE records (
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  etag TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (kind, key)
);

-- What a collection may be searched by, besides the key. Written together with the record, gone with it.
CREATE TABLE record_index (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  key TEXT NOT NULL,
  FOREIGN KEY (kind, key) REFERENCES records (kind, key) ON DELETE CASCADE
);

CREATE INDEX record_index_by_value ON record_index (kind, name, value);
CREATE INDEX record_index_by_key ON record_index (kind, key);
