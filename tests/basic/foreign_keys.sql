-- Foreign keys in both directions, with every action, deferred, and against another session.
CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE, note text);
INSERT INTO parent SELECT i, 'c' || i FROM generate_series(1, 1500) i;
CREATE TABLE cascading (id int PRIMARY KEY, p int REFERENCES parent ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE nulling (id int PRIMARY KEY, p int REFERENCES parent ON UPDATE SET NULL ON DELETE SET NULL);
CREATE TABLE defaulting (id int PRIMARY KEY, p int DEFAULT 1 REFERENCES parent ON DELETE SET DEFAULT);
CREATE TABLE restricting (id int PRIMARY KEY, p int REFERENCES parent ON DELETE RESTRICT);
CREATE TABLE deferring (id int PRIMARY KEY, c text REFERENCES parent (code) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO cascading SELECT i, i % 100 + 1 FROM generate_series(1, 1200) i;
INSERT INTO nulling SELECT i, i % 50 + 101 FROM generate_series(1, 1200) i;
INSERT INTO defaulting SELECT i, 200 FROM generate_series(1, 10) i;
INSERT INTO restricting VALUES (1, 300);
INSERT INTO cascading VALUES (5000, 99999);
INSERT INTO cascading SELECT i, i FROM generate_series(6000, 8000) i;
UPDATE cascading SET p = -1 WHERE id = 1;
DELETE FROM parent WHERE id = 5;
DELETE FROM parent WHERE id BETWEEN 10 AND 60;
UPDATE parent SET id = 10000 WHERE id = 6;
UPDATE parent SET code = 'changed' WHERE id = 7;
DELETE FROM parent WHERE id BETWEEN 101 AND 120;
UPDATE parent SET id = 20000 WHERE id = 130;
DELETE FROM parent WHERE id = 200;
DELETE FROM parent WHERE id = 300;
SELECT count(*), sum(p) FROM cascading;
SELECT count(*), count(p), sum(p) FROM nulling;
SELECT p, count(*) FROM defaulting GROUP BY p;
SELECT * FROM restricting;
BEGIN;
INSERT INTO deferring SELECT i, 'late' || i FROM generate_series(1, 1300) i;
INSERT INTO parent SELECT i + 30000, 'late' || i FROM generate_series(1, 1300) i;
COMMIT;
BEGIN;
INSERT INTO deferring VALUES (9999, 'missing');
COMMIT;
BEGIN;
INSERT INTO deferring VALUES (9999, 'missing');
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK;
SELECT count(*) FROM deferring;
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE);
INSERT INTO tree SELECT i, nullif(i / 2, 0) FROM generate_series(1, 1100) i;
DELETE FROM tree WHERE id = 3;
SELECT count(*), sum(id) FROM tree;
-- a referencing row keeps the referenced row
BEGIN;
INSERT INTO cascading VALUES (9000, 1000);
\on b
SELECT * FROM parent WHERE id = 1000 FOR NO KEY UPDATE NOWAIT;
SELECT * FROM parent WHERE id = 1000 FOR UPDATE NOWAIT;
UPDATE parent SET note = 'still possible' WHERE id = 1000;
\bg
DELETE FROM parent WHERE id = 1000;
\on a
COMMIT;
\wait b
SELECT * FROM cascading WHERE id = 9000;
\on a
BEGIN;
DELETE FROM parent WHERE id = 1001;
\on b
\bg
INSERT INTO cascading VALUES (9001, 1001);
\on a
COMMIT;
\wait b
\on a
BEGIN;
INSERT INTO parent SELECT i, 'bulk' || i FROM generate_series(50000, 53000) i;
\on b
INSERT INTO cascading VALUES (9002, 52000);
\on a
COMMIT;
\on b
INSERT INTO cascading VALUES (9002, 52000);
SELECT * FROM cascading WHERE id >= 9000;
ALTER TABLE restricting DROP CONSTRAINT restricting_p_fkey;
INSERT INTO restricting SELECT i, 90000 + i FROM generate_series(2, 1500) i;
ALTER TABLE restricting ADD FOREIGN KEY (p) REFERENCES parent;
ALTER TABLE restricting ADD FOREIGN KEY (p) REFERENCES parent NOT VALID;
INSERT INTO restricting VALUES (3000, 90000);
ALTER TABLE restricting VALIDATE CONSTRAINT restricting_p_fkey;
DELETE FROM restricting WHERE id > 1;
ALTER TABLE restricting VALIDATE CONSTRAINT restricting_p_fkey;
TRUNCATE parent;
TRUNCATE parent CASCADE;
SELECT (SELECT count(*) FROM parent) + (SELECT count(*) FROM cascading) + (SELECT count(*) FROM nulling) + (SELECT count(*) FROM restricting);
