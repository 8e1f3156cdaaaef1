-- What is found by an index value comes in the order of its keys, from any key on, without sorting.
CREATE INDEX record_index_in_order ON record_index (kind, name, value, key);
DROP INDEX record_index_by_value;
