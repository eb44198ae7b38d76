-- The starts of some rows of a table, at even distances over its row ids: whether the file has them in the order of time
-- is seen without reading the table.
--
-- :table     the table's name, put in before SQLite sees the query
-- :samples   how many rows, as text
--
-- start_ns   nanoseconds of the session
WITH RECURSIVE
  bounds AS (SELECT min(rowid) AS low, max(rowid) AS high FROM main.":table"),
  place(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM place WHERE n + 1 < CAST(:samples AS INTEGER))
SELECT (
  SELECT t.start FROM main.":table" AS t
  WHERE t.rowid >= b.low + n * ((b.high - b.low) / CAST(:samples AS INTEGER)) AND t.start IS NOT NULL
  ORDER BY t.rowid LIMIT 1
) AS start_ns
FROM place CROSS JOIN bounds AS b
ORDER BY n;
