-- The strings with some ids. Callers pass only ids of events: StringIds also holds environments and paths.
--
-- :ids      a JSON array of StringIds ids, as in '[12, 17]'
--
-- name_id   StringIds.id
-- name      the string
SELECT CAST(s.id AS INTEGER) AS name_id, coalesce(CAST(s.value AS TEXT), '') AS name
FROM StringIds AS s
WHERE s.id IN (SELECT value FROM json_each(:ids));
