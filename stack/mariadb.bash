# MariaDB, for the read models. Read by stack/stack.
# shellcheck shell=bash disable=SC2154 # folders and ports come from stack/stack

# A root person's server runs as somebody with fewer rights, who must be able to reach the folder.
mariadb_user() {
    local user=nobody
    if getent passwd mysql >/dev/null; then user=mysql; fi
    if setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups test -x "$home"; then
        printf '%s' "$user"
    else
        printf 'root'
    fi
}

mariadb_password() { setting "$home/mariadb.cnf" password; }

prepare_mariadb() {
    local password
    local -a user=()
    if [[ $EUID == 0 ]]; then user=(--user="$(mariadb_user)"); fi

    if [[ ! -e $home/mariadb/data ]]; then
        # Laid out beside its place, and moved there when it is whole.
        rm -rf "$home/mariadb/new"
        mkdir "$home/mariadb/new"
        if [[ $EUID == 0 ]]; then chown -R "$(mariadb_user):" "$home/mariadb"; fi
        TMPDIR=$home/mariadb/tmp mariadb-install-db --no-defaults --datadir="$home/mariadb/new" "${user[@]}" --skip-test-db \
            --skip-name-resolve --auth-root-authentication-method=socket >"$home/logs/mariadb.log" 2>&1 ||
            { last_words mariadb; die "MariaDB could not lay out its data folder"; }
        mv "$home/mariadb/new" "$home/mariadb/data"
    fi

    password=$(mariadb_password)
    password=${password:-$(head -c 24 /dev/urandom | base64 | tr '+/' 'ab')}
    cat >"$home/mariadb.cnf" <<END
# For a look by hand: mariadb --defaults-file=$home/mariadb.cnf lemonair
[client]
protocol = tcp
host = "127.0.0.1"
port = ${port[mariadb]}
user = "lemonair"
password = "$password"
default-character-set = utf8mb4
skip-ssl
END
    # The server runs this before it listens, so nobody ever has to log in with more rights than these.
    cat >"$home/mariadb/init.sql" <<END
CREATE DATABASE IF NOT EXISTS lemonair CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS 'lemonair'@'127.0.0.1';
ALTER USER 'lemonair'@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL ON lemonair.* TO 'lemonair'@'127.0.0.1';
GRANT ALL ON \`lemonair\\_%\`.* TO 'lemonair'@'127.0.0.1';
END
    if [[ $EUID == 0 ]]; then chown -R "$(mariadb_user):" "$home/mariadb"; fi
}

# The pool has room for the indexes of a chat of millions; the redo log, and a disk that is taken for
# as fast as today's are, for a rebuild that does not wait until pages are flushed.
# The socket's name is relative, since a long path does not fit into one; nothing connects to it.
start_mariadb() {
    local -a user=()
    if [[ $EUID == 0 ]]; then user=(--user="$(mariadb_user)"); fi
    launch mariadb mariadbd --no-defaults "$(mark mariadb)" "${user[@]}" --init-file="$home/mariadb/init.sql" \
        --tmpdir="$home/mariadb/tmp" \
        --bind-address=127.0.0.1 --port="${port[mariadb]}" --socket=mariadb.sock --skip-name-resolve --skip-ssl \
        --character-set-server=utf8mb4 --collation-server=utf8mb4_bin --default-time-zone=+00:00 \
        --innodb-flush-log-at-trx-commit=1 --innodb-buffer-pool-size=1G --innodb-log-file-size=512M \
        --innodb-io-capacity=2000 --innodb-flush-neighbors=0 --max-connections=200
}

mariadb_answers() { mariadb --defaults-file="$home/mariadb.cnf" --connect-timeout=2 -e 'DO 1' >/dev/null 2>&1; }
