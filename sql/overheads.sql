-- Host time spent in the profiler and in CUDA's module loading.
--
-- start_ns, end_ns   nanoseconds of the session
-- thread             globalTid; if its low 24 bits are 0, the row applies to the whole process
-- kind               'profiler' or 'module_load'
-- name               nsys's name for the overhead
--
-- CUPTI_ACTIVITY_KIND_OVERHEAD.overheadType: 3 buffer flush, 4 instrumentation, 5 resource belong to the profiler;
-- 6 module loading, 7 lazy function loading belong to CUDA; 1 unknown, 2 JIT compiler, 8 command buffer full are
-- left out.
SELECT start AS start_ns, end AS end_ns, globalTid AS thread, 'profiler' AS kind, coalesce(s.value, '') AS name
FROM PROFILER_OVERHEAD LEFT JOIN StringIds AS s ON s.id = nameId
WHERE start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL
UNION ALL
SELECT start, end, globalTid,
       CASE WHEN overheadType IN (3, 4, 5) THEN 'profiler' ELSE 'module_load' END, coalesce(s.value, '')
FROM CUPTI_ACTIVITY_KIND_OVERHEAD LEFT JOIN StringIds AS s ON s.id = nameId
WHERE overheadType IN (3, 4, 5, 6, 7)
  AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
