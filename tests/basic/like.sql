-- LIKE with what is searched for in texts and what PostgreSQL evaluates.
CREATE TABLE texts (id int, v text COLLATE "C", w varchar(60), c char(12), d text);
INSERT INTO texts SELECT i, repeat(md5(i::text), 1 + i % 3) || E'\\%_\u00e9' || i, 'forest ' || md5((i * 7)::text) || ' green',
  CASE WHEN i % 5 > 0 THEN substr(md5((-i)::text), 1, i % 13) END, (ARRAY['PROMO BRUSHED', 'promo', '', '%', 'PROMOTED PROMO'])[i % 5 + 1]
  FROM generate_series(1, 5000) i;
INSERT INTO texts VALUES (0, '', '', '', ''), (-1, NULL, NULL, NULL, NULL), (-2, 'a', 'forest green', 'a', '\');
INSERT INTO texts SELECT -i - 10, repeat('x', 9000) || i || repeat('yz', 3000), NULL, NULL, NULL FROM generate_series(1, 30) i;
DO $$
DECLARE
  pattern text;
  name text;
  found text;
BEGIN
  FOREACH pattern IN ARRAY ARRAY['%', '', '%%', 'a', 'a%', '%a', '%a%', '%ab%cd%', 'ab%cd', '%\%%', '%\\%', '%\_%', '\a%', '%é%', '%é1', 'é',
                                 '_', '%_', '__%', 'a_%', '%a_b%', 'forest%', '%green', 'forest%green', '%forest%forest%', 'PROMO%', '%PROMO',
                                 'PROMO%PROMO', '%PROMO%PROMO%', 'a           ', '% ', '%yz', '%x1%y%', 'xx%7yz%zyz'] LOOP
    FOREACH name IN ARRAY ARRAY['v', 'w', 'c', 'd', 'upper(d)'] LOOP
      EXECUTE format('SELECT count(*) FILTER (WHERE %1$s LIKE %2$L) || '' '' || count(*) FILTER (WHERE %1$s NOT LIKE %2$L) || '' '' ||
                      coalesce(sum(id) FILTER (WHERE NOT (%1$s LIKE %2$L)), 0) FROM texts', name, pattern) INTO found;
      RAISE NOTICE '% like %: %', name, pattern, found;
      EXECUTE format('SELECT count(*) || '' '' || coalesce(sum(id), 0) FROM texts WHERE %1$s LIKE %2$L', name, pattern) INTO found;
      RAISE NOTICE '% like %: %', name, pattern, found;
    END LOOP;
  END LOOP;
END $$;
SELECT count(*) FROM texts WHERE v LIKE 'a\';
SELECT count(*) FROM texts WHERE v LIKE NULL;
SELECT count(*) FROM texts WHERE v LIKE w;
SELECT count(*) FROM texts WHERE v LIKE '%' || id || '%';
SELECT count(*) FROM texts WHERE 'PROMO BRUSHED' LIKE d || '%';
SELECT count(*) FROM texts WHERE v LIKE '%a' ESCAPE 'a';
SELECT count(*) FROM texts WHERE v ILIKE '%A%B%';
CREATE COLLATION ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT count(*) FROM texts WHERE w COLLATE ignoring_case LIKE 'FOREST%';
SELECT count(*) FROM texts WHERE w COLLATE "en-x-icu" LIKE 'forest%';
DROP COLLATION ignoring_case;
DROP TABLE texts;
