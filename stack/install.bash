# Installing: Debian packages, and the jars that Debian does not have. Read by stack/stack.
# shellcheck shell=bash disable=SC2154 # the folders come from stack/stack

install() {
    local tests=$1
    local -a absent=() packages=()
    has cargo || absent+=("cargo (https://rustup.rs)")
    has cc || absent+=("a C compiler (Debian: gcc)")
    if ((${#absent[@]} > 0)); then die "please install first: $(IFS=, && printf '%s' "${absent[*]}")"; fi

    if ours kafka registry; then
        if ! java_is_new_enough; then packages+=(default-jre-headless); fi # 17 in Debian 12, 21 in 13
        if ! jars_are_there && ! has mvn; then packages+=(maven); fi
    fi
    if ours mariadb && ! mariadb_is_there; then
        # The core packages are the bare programs. The full ones bring a service that Debian starts at once.
        packages+=(mariadb-server-core mariadb-client-core)
    fi
    if ! has ffmpeg; then packages+=(ffmpeg); fi
    if [[ $tests == --tests ]]; then
        if ! has chromium; then packages+=(chromium); fi
        if ! has chromedriver; then packages+=(chromium-driver); fi
        if ! has kcat; then packages+=(kcat); fi
        # What stack/peers makes an environment with.
        if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi
        if ! fc-list :lang=ko 2>/dev/null | grep -q .; then packages+=(fontconfig fonts-nanum); fi # the pages speak Korean
        if ! axe_is_there && ! has mvn; then packages+=(maven); fi
    fi
    if ((${#packages[@]} > 0)); then install_packages "${packages[@]}"; else say "packages: all there"; fi

    if [[ $tests == --tests ]] && ! axe_is_there; then fetch_axe; fi
    if ! ours kafka registry; then return; fi
    java_is_new_enough || die "the java on the path is older than 17; put a newer one before it"
    if jars_are_there; then say "jars: all there"; else fetch_jars; fi
}

installed() { # what `up` needs
    if ours kafka registry && ! { jars_are_there && java_is_new_enough; }; then return 1; fi
    if ours mariadb && ! mariadb_is_there; then return 1; fi
}

mariadb_is_there() { has mariadbd && has mariadb-install-db && has mariadb && has my_print_defaults; }

java_is_new_enough() {
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || return 1
    ((${version:-0} >= 17))
}

install_packages() {
    has apt-get || die "please install by the means of your system: $*"
    # --no-remove: a MySQL that MariaDB's package would push out stays, and the person hears of the conflict.
    local log command="apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends --no-remove $*"
    local -a as_root=()
    if [[ $EUID != 0 ]]; then
        if ! has sudo; then die "may not install packages; please run: su -c '$command'"; fi
        if ! sudo -n true 2>/dev/null; then die "may not install packages; please run: sudo sh -c '$command'"; fi
        as_root=(sudo -n)
    fi
    log=$(mktemp)
    say "packages: installing $* (may take a minute or two)"
    if ! "${as_root[@]}" sh -c "$command" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "could not install $*; the whole output is in $log"
    fi
    rm "$log"
}

# axe looks for what hinders people in a page. Deque's own archive for Java has it whole.
axe=com.deque.html.axe-core:selenium:4.10.1

axe_is_there() { [[ $(cat "$root/.lemonair/axe/version" 2>/dev/null) == "$axe" ]]; }

fetch_axe() (
    folder
    say "axe: fetching it (1 MB)"
    rm -rf "$root/.lemonair/axe"
    mkdir "$root/.lemonair/axe"
    cd "$root/.lemonair/axe" # where the plugin leaves a mark of its own
    mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:2.8:unpack -Dartifact="$axe:jar" \
        -Dmdep.unpack.includes=axe.min.js -DoutputDirectory="$PWD" || die "Maven could not fetch axe"
    printf '%s\n' "$axe" >version
)

# The list of what was fetched is kept beside it, so a changed pom.xml fetches anew, and a fetch cut short does not count.
jars_are_there() { cmp -s "$root/stack/pom.xml" "$lib/pom.xml"; }

fetch_jars() (
    folder
    lock "$root/.lemonair/lib.lock"
    if jars_are_there; then return; fi
    say "jars: fetching Kafka and the schema registry (150 MB)"
    rm -rf "$lib.new"
    mkdir -p "$lib.new/registry"
    if ! mvn --batch-mode --quiet --strict-checksums -f "$root/stack/pom.xml" -Dlib="$lib.new" initialize >"$lib.new/log" 2>&1; then
        cat "$lib.new/log" >&2
        die "Maven could not fetch the jars; can it reach its repository?"
    fi
    tar -xzf "$lib.new/registry.tar.gz" -C "$lib.new/registry"
    rm "$lib.new/registry.tar.gz" "$lib.new/log"
    cp "$root/stack/pom.xml" "$lib.new/pom.xml"
    rm -rf "$lib"
    mv "$lib.new" "$lib"
)
