-- The names that API calls, OS calls and kernels refer to. Nothing else of StringIds is read: it also holds
-- environments and paths.
WITH used AS (
  SELECT nameId AS id FROM CUPTI_ACTIVITY_KIND_RUNTIME
  UNION SELECT nameId FROM OSRT_API
  UNION SELECT coalesce(demangledName, shortName) FROM CUPTI_ACTIVITY_KIND_KERNEL
)
SELECT CAST(s.id AS INTEGER) AS name_id, coalesce(CAST(s.value AS TEXT), '') AS name
FROM StringIds AS s WHERE s.id IN used;
