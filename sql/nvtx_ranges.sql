-- NVTX ranges (push/pop and start/end) with the domain that they belong to.
--
-- start_ns, end_ns   nanoseconds of the session; ranges without an end are left out
-- thread             globalTid of the thread that opened the range
-- domain_id          0 is the default domain
-- domain             the domain's name; '' for the default one and for one whose creation is not in the report
-- is_operator        1 where the text is a framework operator's: aten::, autograd::, or numbered by op_id or seq
-- name               the text, for an operator without the numbers and sizes behind its name
WITH domain AS (
  -- a domain may be created twice (cuBLAS and cuBLASLt share one): keep one name
  SELECT (globalTid & ~0xFFFFFF) AS process, domainId, max(coalesce(s.value, text)) AS name
  FROM NVTX_EVENTS LEFT JOIN StringIds AS s ON s.id = textId
  WHERE eventType = 75
  GROUP BY 1, 2
),
range_text AS (
  SELECT e.start, e.end, e.globalTid, coalesce(e.domainId, 0) AS domainId,
         coalesce(s.value, e.text, '') AS text
  FROM NVTX_EVENTS AS e LEFT JOIN StringIds AS s ON s.id = e.textId
  WHERE e.eventType IN (59, 60, 70, 71)
    AND e.start IS NOT NULL AND e.end >= e.start AND e.globalTid IS NOT NULL
),
range_numbered AS (
  SELECT *, instr(text, 'op_id =') > 0 OR instr(text, 'seq =') > 0 AS numbered FROM range_text
)
SELECT
  CAST(r.start AS INTEGER)     AS start_ns,
  CAST(r.end AS INTEGER)       AS end_ns,
  CAST(r.globalTid AS INTEGER) AS thread,
  CAST(r.domainId AS INTEGER)  AS domain_id,
  coalesce(d.name, '')         AS domain,
  r.numbered OR r.text GLOB 'aten::*' OR r.text GLOB 'autograd::*' AS is_operator,
  CASE WHEN r.numbered AND instr(r.text, ', ') > 0
       THEN substr(r.text, 1, instr(r.text, ', ') - 1)
       ELSE CAST(r.text AS TEXT) END AS name
FROM range_numbered AS r
LEFT JOIN domain AS d ON d.domainId = r.domainId AND d.process = (r.globalTid & ~0xFFFFFF);
