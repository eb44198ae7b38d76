-- Names of hosts and users in a report; `scrub` removes them from every text that it keeps.
--
-- name    host or user name
SELECT CAST(value AS TEXT) AS name
FROM (SELECT name, value FROM META_DATA_EXPORT UNION ALL SELECT name, value FROM EXPORT_META_DATA)
WHERE name IN ('EXPORT_HOST', 'EXPORT_USER') AND value <> ''
UNION
SELECT CAST(value AS TEXT) FROM TARGET_INFO_SYSTEM_ENV WHERE name IN ('Hostname', 'UserName') AND value <> '';
