-- Names of the threads that call CUDA or open NVTX ranges; one name per thread.
--
-- thread   globalTid
-- name     the thread's name
WITH host_thread AS (
  SELECT globalTid FROM CUPTI_ACTIVITY_KIND_RUNTIME
  UNION
  SELECT globalTid FROM NVTX_EVENTS
)
SELECT CAST(t.globalTid AS INTEGER) AS thread, max(CAST(s.value AS TEXT)) AS name
FROM ThreadNames AS t JOIN StringIds AS s ON s.id = t.nameId
WHERE t.globalTid IN host_thread
GROUP BY t.globalTid;
