#!/bin/sh
# A follow-up: keeps a copy of each version that was published, in a folder that has to be there.
#
#     command = ["/bin/sh", "{base}/archive.sh", "/srv/archive", "{path}"]
#
# The copy has the publication's id before its name, so a second try finds what the first one did, and an older version never takes
# the place of a newer one. It appears whole, by a rename.
set -eu

folder=$1
file=$2
name=${file##*/}

# No file name can pretend to be the member: inside of a JSON string each quotation mark has a backslash before it.
id=$(sed -n 's/.*"id":"\([^"\\]*\)".*/\1/p')
case $id in
    '' | .* | *[!A-Za-z0-9._-]*)
        echo "a publication with the id \`$id\` cannot be archived"
        exit 65
        ;;
esac

if [ ! -d "$folder" ] || [ ! -w "$folder" ]; then
    # Perhaps a disk that is not mounted yet.
    echo "there is no folder $folder that can be written to"
    exit 75
fi

kept=$folder/$id-$name
if [ "$(printf %s "$id-$name" | wc -c)" -gt 255 ]; then
    kept=$folder/$id
fi
if [ -e "$kept" ]; then
    rm -f -- "$folder/.$id".*.part
    exit 0
fi
# A part of this run alone: the copy of a gateway that was killed may be going on beside it. The parts of such runs go at the end.
part=$folder/.$id.$$.part
cp -- "$file" "$part"
mv -f -- "$part" "$kept"
rm -f -- "$folder/.$id".*.part
