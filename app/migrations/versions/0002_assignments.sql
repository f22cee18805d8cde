-- Where the last assignment of each partition began, and whether it has ended in order: how a record is found that kills
-- every process that touches it. One row a partition and consumer group, written when an assignment begins and ends.
create table assignments (
    group_id text not null,
    topic text not null,
    partition integer not null,
    head bigint not null,
    tail bigint not null,
    held boolean not null,
    touched bigint,
    deaths integer not null default 0,
    begun_at timestamptz(3) not null default now(),
    constraint assignments_pkey primary key (group_id, topic, partition),
    constraint assignments_offsets_natural check (partition >= 0 and head >= 0 and tail >= head and touched >= 0),
    constraint assignments_deaths_natural check (deaths >= 0)
);

comment on column assignments.head is 'the offset of its first record';

comment on column assignments.tail is 'the last offset of its first batch, or of the one that is searched';

comment on column assignments.held is 'until it has ended in order; one that is held when the next begins has died';

comment on column assignments.touched is 'the record that was last processed alone, while one that kills is searched for';

comment on column assignments.deaths is 'how often in a row assignments died on their first record, as far as is known';
