# A closure of 601 small store paths in 12 levels of 50 text files, each of which names three of the level before.
# Nothing is built, and the paths are content-addressed, so no signature is needed. This prints the one at the top:
#   nix-instantiate --eval --read-write-mode --json dag.nix
let
  modulo = a: b: a - b * (a / b);
  level = n:
    if n == 0 then builtins.genList (i: builtins.toFile "p-0-${toString i}" "leaf ${toString i}") 50
    else
      let before = builtins.elemAt (level (n - 1)); in
      builtins.genList
        (i: builtins.toFile "p-${toString n}-${toString i}"
          "${before i} ${before (modulo (i * 7 + 3) 50)} ${before (modulo (i + 11) 50)}")
        50;
in builtins.toFile "top" (builtins.concatStringsSep "\n" (level 11))
