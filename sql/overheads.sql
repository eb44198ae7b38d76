-- What the profiler and CUDA's lazy loading cost on the host.
--
-- start_ns, end_ns   nanoseconds of the session
-- thread             globalTid; where its low 24 bits are 0 the row holds for the whole process
-- kind               'profiler' or 'module_load'
-- name               what nsys calls it
--
-- CUPTI_ACTIVITY_KIND_OVERHEAD.overheadType: 3 buffer flush, 4 instrumentation, 5 resource are the profiler's;
-- 6 module loading, 7 lazy function loading are CUDA's; 1 unknown, 2 JIT compiler, 8 command buffer full are
-- neither.
SELECT CAST(start AS INTEGER) AS start_ns, CAST(end AS INTEGER) AS end_ns,
       CAST(globalTid AS INTEGER) AS thread, 'profiler' AS kind, coalesce(s.value, '') AS name
FROM PROFILER_OVERHEAD LEFT JOIN StringIds AS s ON s.id = nameId
WHERE start IS NOT NULL AND end >= start AND globalTid IS NOT NULL
UNION ALL
SELECT CAST(start AS INTEGER), CAST(end AS INTEGER), CAST(globalTid AS INTEGER),
       CASE WHEN overheadType IN (3, 4, 5) THEN 'profiler' ELSE 'module_load' END, coalesce(s.value, '')
FROM CUPTI_ACTIVITY_KIND_OVERHEAD LEFT JOIN StringIds AS s ON s.id = nameId
WHERE overheadType IN (3, 4, 5, 6, 7)
  AND start IS NOT NULL AND end >= start AND globalTid IS NOT NULL;
