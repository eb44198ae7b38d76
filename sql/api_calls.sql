-- CUDA API calls (runtime and driver), one row per call.
--
-- start_ns, end_ns   nanoseconds of the session
-- thread             globalTid; the process is thread & ~0xFFFFFF
-- correlation_id     joins device operations of the same process; -2 where the call has none
-- name_id            StringIds.id of the name
SELECT
  start                       AS start_ns,
  end                         AS end_ns,
  globalTid                   AS thread,
  coalesce(correlationId, -2) AS correlation_id,
  coalesce(nameId, -1)        AS name_id
FROM CUPTI_ACTIVITY_KIND_RUNTIME
WHERE start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
