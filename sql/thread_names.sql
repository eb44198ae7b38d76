-- Names of the report's threads; one name per thread.
--
-- thread   globalTid
-- name     the thread's name
SELECT CAST(t.globalTid AS INTEGER) AS thread, max(CAST(s.value AS TEXT)) AS name
FROM ThreadNames AS t JOIN StringIds AS s ON s.id = t.nameId
WHERE t.globalTid IS NOT NULL
GROUP BY t.globalTid;
