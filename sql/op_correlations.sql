-- The ids by which device operations refer to their launching calls.
--
-- process          globalPid
-- correlation_id   as in kernels.sql
SELECT globalPid AS process, correlationId AS correlation_id FROM CUPTI_ACTIVITY_KIND_KERNEL
WHERE start IS NOT NULL AND end IS NOT NULL AND correlationId IS NOT NULL AND globalPid IS NOT NULL
UNION ALL
SELECT globalPid, correlationId FROM CUPTI_ACTIVITY_KIND_MEMCPY
WHERE start IS NOT NULL AND end IS NOT NULL AND correlationId IS NOT NULL AND globalPid IS NOT NULL
UNION ALL
SELECT globalPid, correlationId FROM CUPTI_ACTIVITY_KIND_MEMSET
WHERE start IS NOT NULL AND end IS NOT NULL AND correlationId IS NOT NULL AND globalPid IS NOT NULL
UNION ALL
SELECT globalPid, correlationId FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE
WHERE NOT (start = 0 AND end = 0) AND correlationId IS NOT NULL AND globalPid IS NOT NULL;
