-- Metadata of the report: versions, traced APIs, machine. Only listed names are read: the same tables hold the
-- environment and the command line of the profiled program.
--
-- topic   export, capture, system, session or gpu
-- name, value
SELECT 'export' AS topic, name AS name, coalesce(CAST(value AS TEXT), '') AS value FROM META_DATA_EXPORT
WHERE name IN ('EXPORT_SCHEMA_VERSION', 'EXPORT_PRODUCT_VERSION', 'EXPORT_PARAM_LAZY')
UNION ALL
SELECT 'export', name, coalesce(CAST(value AS TEXT), '') FROM EXPORT_META_DATA
WHERE name IN ('EXPORT_SCHEMA_VERSION', 'EXPORT_PRODUCT_VERSION', 'EXPORT_PARAM_LAZY')
UNION ALL
SELECT 'capture', name, coalesce(CAST(value AS TEXT), '') FROM META_DATA_CAPTURE
WHERE name IN ('CAPTURE_EVENT_TYPE', 'OS_RUNTIME_OPTIONS:DURATION_THRESHOLD_NS',
               'LINUX_PERF_OPTIONS:SAMPLING_PERIOD', 'LINUX_PERF_OPTIONS:COLLECT_IP_BACKTRACE_SAMPLES',
               'LINUX_PERF_OPTIONS:CPU_IP_SAMPLING_TRIGGER_EVENT_INDEX')
   OR name LIKE '%CUDA_GRAPH_TRACE_OPTIONS:MODE'
UNION ALL
SELECT 'system', name, coalesce(CAST(value AS TEXT), '') FROM TARGET_INFO_SYSTEM_ENV
WHERE name IN ('CpuDescription', 'NvDriverVersion', 'Hostname')
UNION ALL
SELECT 'session', 'utcEpochNs', CAST(CAST(utcEpochNs AS INTEGER) AS TEXT) FROM TARGET_INFO_SESSION_START_TIME
WHERE utcEpochNs > 0
UNION ALL
SELECT 'gpu', 'name', coalesce(CAST(name AS TEXT), '') FROM TARGET_INFO_GPU;
