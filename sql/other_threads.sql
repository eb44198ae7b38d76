-- Threads of processes that call no CUDA, such as a serving engine's front end, scheduler and tokenizers.
--
-- thread     globalTid
-- name       a name of the thread; null where the report has none
-- os_calls   number of OS runtime calls
-- samples    number of CPU samples
-- switches   number of context switches
WITH
cuda_process AS (SELECT DISTINCT globalTid & ~0xFFFFFF AS process FROM CUPTI_ACTIVITY_KIND_RUNTIME),
event AS (
  SELECT globalTid, count(*) AS os_calls, 0 AS samples, 0 AS switches
  FROM OSRT_API WHERE eventClass = 27 OR eventClass IS NULL GROUP BY globalTid
  UNION ALL
  SELECT globalTid, 0, count(*), 0 FROM COMPOSITE_EVENTS GROUP BY globalTid
  UNION ALL
  SELECT globalTid, 0, 0, count(*) FROM SCHED_EVENTS GROUP BY globalTid
),
named AS (
  SELECT t.globalTid, max(CAST(s.value AS TEXT)) AS name
  FROM ThreadNames AS t JOIN StringIds AS s ON s.id = t.nameId
  GROUP BY t.globalTid
)
SELECT
  CAST(event.globalTid AS INTEGER) AS thread,
  named.name                       AS name,
  sum(os_calls)                    AS os_calls,
  sum(samples)                     AS samples,
  sum(switches)                    AS switches
FROM event LEFT JOIN named ON named.globalTid = event.globalTid
WHERE event.globalTid & ~0xFFFFFF NOT IN (SELECT process FROM cuda_process)
GROUP BY event.globalTid
LIMIT 4096;
