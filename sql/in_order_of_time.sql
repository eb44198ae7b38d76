-- The rows of another query, sorted by start, then end: for files whose tables are not sorted by time.
--
-- :rows   text of the other query, substituted before SQLite parses this file
SELECT * FROM (
:rows
)
ORDER BY start_ns, end_ns;
