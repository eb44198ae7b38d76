-- Private data in a report beyond its measurements, counted; the texts themselves are not returned.
--
-- what    kind of private data
-- place   table that holds it
-- found   number of its rows with such data
SELECT 'environment variables' AS what, 'META_DATA_CAPTURE' AS place, count(*) AS found
FROM META_DATA_CAPTURE WHERE name LIKE '%ENVIRONMENT%' AND value <> ''
UNION ALL
SELECT 'environment variables', 'TARGET_INFO_SYSTEM_ENV', count(*)
FROM TARGET_INFO_SYSTEM_ENV WHERE name = 'DeviceEnvironment' AND value <> ''
UNION ALL
-- nsys keeps the environments of the machine's other processes as strings joined by NUL
SELECT 'environment variables', 'StringIds', count(*)
FROM StringIds WHERE value GLOB '[A-Z_]*[A-Z0-9_]=*' OR instr(CAST(value AS BLOB), x'00') > 0
UNION ALL
SELECT 'command lines', 'META_DATA_CAPTURE', count(*)
FROM META_DATA_CAPTURE WHERE (name LIKE '%COMMAND%' OR name LIKE '%ARGUMENT_%') AND value <> ''
UNION ALL
SELECT 'host and user', 'META_DATA_EXPORT', count(*)
FROM (SELECT name, value FROM META_DATA_EXPORT UNION ALL SELECT name, value FROM EXPORT_META_DATA)
WHERE name IN ('EXPORT_HOST', 'EXPORT_USER') AND value <> ''
UNION ALL
SELECT 'host and user', 'TARGET_INFO_SYSTEM_ENV', count(*)
FROM TARGET_INFO_SYSTEM_ENV WHERE name = 'Hostname' AND value <> ''
UNION ALL
SELECT 'paths', 'META_DATA_EXPORT', count(*)
FROM (SELECT value FROM META_DATA_EXPORT UNION ALL SELECT value FROM EXPORT_META_DATA)
WHERE instr(value, '/') > 0 OR instr(value, '\') > 0
UNION ALL
SELECT 'paths', 'META_DATA_CAPTURE', count(*) FROM META_DATA_CAPTURE WHERE value LIKE '/%'
UNION ALL
SELECT 'paths', 'StringIds', count(*)
FROM StringIds WHERE value LIKE '/%' OR value LIKE '%/home/%' OR value LIKE '%/root/%' OR value LIKE '%/Users/%'
UNION ALL
SELECT 'other processes', 'PROCESSES', count(*)
FROM PROCESSES
WHERE globalPid NOT IN (SELECT globalTid & ~0xFFFFFF FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE globalTid IS NOT NULL)
UNION ALL
SELECT 'other processes', 'ThreadNames', count(*)
FROM ThreadNames
WHERE (globalTid & ~0xFFFFFF)
      NOT IN (SELECT globalTid & ~0xFFFFFF FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE globalTid IS NOT NULL)
UNION ALL
SELECT 'standard output', 'ProcessStreams', count(*) FROM ProcessStreams
UNION ALL
SELECT 'files of the program', 'ANALYSIS_FILE', count(*) FROM ANALYSIS_FILE
UNION ALL
SELECT 'serial numbers', 'TARGET_INFO_GPU', count(*) FROM TARGET_INFO_GPU WHERE uuid <> ''
UNION ALL
SELECT 'texts that look like secrets', 'StringIds', count(*)
FROM StringIds
WHERE value GLOB '*gh[pousr]_[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]*'
   OR value GLOB '*hf_[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]*'
   OR value GLOB '*AKIA[A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9]*'
   OR value GLOB '*sk-[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]*'
   OR value LIKE '%BEGIN % PRIVATE KEY%'
   OR value LIKE '%password=%'
   OR value LIKE '%token=%' OR value LIKE '%secret=%' OR value LIKE '%api_key=%'
UNION ALL
SELECT 'texts that look like secrets', 'META_DATA_CAPTURE', count(*)
FROM META_DATA_CAPTURE
WHERE value GLOB '*gh[pousr]_[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]*'
   OR value GLOB '*hf_[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]*'
   OR value GLOB '*AKIA[A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9]*'
   OR value GLOB '*sk-[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]*'
   OR value LIKE '%password=%'
   OR value LIKE '%token=%'
   OR value LIKE '%secret=%'
   OR value LIKE '%api_key=%';
