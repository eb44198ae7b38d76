-- The strings that a scrubbed copy keeps, with their use. No other row of StringIds is copied.
--
-- sort    use of the string: api, os, kernel, range, domain, overhead, library, symbol, module or thread
-- id      StringIds.id
-- value   the string; an id has one row per sort that uses it
WITH cuda_process AS (
  SELECT DISTINCT globalTid & ~0xFFFFFF AS process FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE globalTid IS NOT NULL
),
used AS (
  SELECT 'api' AS sort, nameId AS id FROM CUPTI_ACTIVITY_KIND_RUNTIME
  UNION SELECT 'os', nameId FROM OSRT_API
  UNION SELECT 'kernel', demangledName FROM CUPTI_ACTIVITY_KIND_KERNEL
  UNION SELECT 'kernel', shortName FROM CUPTI_ACTIVITY_KIND_KERNEL
  UNION SELECT CASE eventType WHEN 75 THEN 'domain' ELSE 'range' END, textId FROM NVTX_EVENTS
  UNION SELECT 'overhead', nameId FROM PROFILER_OVERHEAD
  UNION SELECT 'overhead', nameId FROM CUPTI_ACTIVITY_KIND_OVERHEAD
  UNION SELECT 'library', nameId FROM CUBLAS_EVENTS
  UNION SELECT 'library', nameId FROM CUDNN_EVENTS
  UNION SELECT 'symbol', symbol FROM SAMPLING_CALLCHAINS
  UNION SELECT 'symbol', symbol FROM CUDA_CALLCHAINS
  UNION SELECT 'module', module FROM SAMPLING_CALLCHAINS
  UNION SELECT 'module', module FROM CUDA_CALLCHAINS
  UNION SELECT 'thread', nameId FROM ThreadNames WHERE (globalTid & ~0xFFFFFF) IN cuda_process
)
SELECT used.sort AS sort, s.id AS id, coalesce(CAST(s.value AS TEXT), '') AS value
FROM used JOIN StringIds AS s ON s.id = used.id
ORDER BY used.sort, s.id;
