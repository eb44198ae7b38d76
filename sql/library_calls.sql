-- cuBLAS and cuDNN calls that nsys intercepted (older libraries; newer ones emit NVTX ranges instead).
--
-- start_ns, end_ns, thread   as in api_calls.sql
-- name                       the library's function
-- Rows of other event classes mark the begin and end of the interception and are left out.
SELECT start AS start_ns, end AS end_ns, globalTid AS thread, 'cuBLAS' AS library, coalesce(s.value, '') AS name
FROM CUBLAS_EVENTS LEFT JOIN StringIds AS s ON s.id = nameId
WHERE coalesce(eventClass, 29) = 29 AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL
UNION ALL
SELECT start, end, globalTid, 'cuDNN', coalesce(s.value, '')
FROM CUDNN_EVENTS LEFT JOIN StringIds AS s ON s.id = nameId
WHERE coalesce(eventClass, 28) = 28 AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
