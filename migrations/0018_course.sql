-- How much each account said in each room, minute by minute.
CREATE TABLE chatters (
    room     VARCHAR(24) NOT NULL,
    -- Since 1970.
    minute   BIGINT      NOT NULL,
    account  BINARY(16)  NOT NULL,
    messages BIGINT      NOT NULL,
    PRIMARY KEY (room, minute, account)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE chatters_checkpoint LIKE messages_checkpoint;
CREATE TABLE chatters_dead_letters LIKE messages_dead_letters;

-- How many watched each room at each gateway, at most, minute by minute.
CREATE TABLE viewers (
    room    VARCHAR(24) NOT NULL,
    minute  BIGINT      NOT NULL,
    gateway BINARY(16)  NOT NULL,
    viewers BIGINT      NOT NULL,
    PRIMARY KEY (room, minute, gateway)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE viewers_checkpoint LIKE messages_checkpoint;
CREATE TABLE viewers_dead_letters LIKE messages_dead_letters;
