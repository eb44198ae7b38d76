-- nsys's messages about lost events, counted. The texts are not returned: they can hold paths and names.
--
-- what        the trace that a message is about: nvtx, osrt, cuda or other
-- certain     messages that events were lost
-- possible    messages that not all events might have been collected; nsys 2024 writes them into every
--             report of a child process
-- collected   number of collected events that nsys states, over all processes
WITH message AS (
  SELECT
    text,
    coalesce(severity, 2) >= 2 AS serious,
    CASE
      WHEN text LIKE '%NVTX%' THEN 'nvtx'
      WHEN text LIKE '%OS runtime%' THEN 'osrt'
      WHEN text LIKE '%CUDA%' OR text LIKE '%CUPTI%' THEN 'cuda'
      ELSE 'other'
    END AS what
  FROM DIAGNOSTIC_EVENT
)
SELECT
  what,
  sum(
    serious AND (
      text LIKE '%dropped%' OR text LIKE '%lost%' OR text LIKE '%discarded%' OR text LIKE '%couldn''t allocate%'
      OR text LIKE '%could not be collected%'
    )
  ) AS certain,
  sum(serious AND text LIKE '%not all%') AS possible,
  sum(
    CASE
      WHEN text LIKE 'Number of % events collected:%'
        THEN CAST(trim(substr(text, instr(text, ':') + 1), ' .' || char(9)) AS INTEGER)
      ELSE 0
    END
  ) AS collected
FROM message
GROUP BY what;
