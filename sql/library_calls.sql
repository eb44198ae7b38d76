-- Calls of cuBLAS and cuDNN that nsys itself intercepted (older libraries; newer ones mark NVTX ranges).
--
-- start_ns, end_ns, thread   as in api_calls.sql
-- name                       the library's function
-- Rows of other event classes say that the interception began or ended.
SELECT CAST(start AS INTEGER) AS start_ns, CAST(end AS INTEGER) AS end_ns,
       CAST(globalTid AS INTEGER) AS thread, 'cuBLAS' AS library, coalesce(s.value, '') AS name
FROM CUBLAS_EVENTS LEFT JOIN StringIds AS s ON s.id = nameId
WHERE eventClass = 29 AND start IS NOT NULL AND end >= start AND globalTid IS NOT NULL
UNION ALL
SELECT CAST(start AS INTEGER), CAST(end AS INTEGER),
       CAST(globalTid AS INTEGER), 'cuDNN', coalesce(s.value, '')
FROM CUDNN_EVENTS LEFT JOIN StringIds AS s ON s.id = nameId
WHERE eventClass = 28 AND start IS NOT NULL AND end >= start AND globalTid IS NOT NULL;
