-- The rows of another query in the order of time, for files whose tables are not in that order. Rows of one start stay
-- in the order of their ends.
--
-- :rows   the text of the other query, put in before SQLite sees it
SELECT * FROM (
:rows
)
ORDER BY start_ns, end_ns;
