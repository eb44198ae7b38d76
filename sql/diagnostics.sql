-- What nsys itself says went missing, counted. The texts stay in the report: they can hold paths and names.
--
-- what     the trace that lost events: nvtx, osrt, cuda or other
-- events   messages that say so
SELECT
  CASE
    WHEN text LIKE '%NVTX%' THEN 'nvtx'
    WHEN text LIKE '%OS runtime%' THEN 'osrt'
    WHEN text LIKE '%CUDA%' OR text LIKE '%CUPTI%' THEN 'cuda'
    ELSE 'other'
  END      AS what,
  count(*) AS events
FROM DIAGNOSTIC_EVENT
WHERE coalesce(severity, 2) >= 2
  AND (text LIKE '%not all%' OR text LIKE '%dropped%' OR text LIKE '%lost%' OR text LIKE '%discarded%'
       OR text LIKE '%couldn''t allocate%' OR text LIKE '%could not be collected%')
GROUP BY 1;
