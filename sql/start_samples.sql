-- The starts of some rows of a table, evenly spaced over its row ids: shows whether the table is sorted by time without
-- reading all of it.
--
-- :table     name of the table, substituted before SQLite parses the query
-- :samples   number of rows, as text
--
-- start_ns   nanoseconds of the session
WITH RECURSIVE
  -- Two subqueries: SQLite looks up min or max of the row ids at once, but scans the table for both together.
  bounds AS (
    SELECT (SELECT min(rowid) FROM main.":table") AS low, (SELECT max(rowid) FROM main.":table") AS high
  ),
  place(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM place WHERE n + 1 < CAST(:samples AS INTEGER))
SELECT (
  SELECT t.start FROM main.":table" AS t
  WHERE t.rowid >= b.low + n * ((b.high - b.low) / CAST(:samples AS INTEGER)) AND t.start IS NOT NULL
  ORDER BY t.rowid LIMIT 1
) AS start_ns
FROM place CROSS JOIN bounds AS b
ORDER BY n;
