# Says what a cloud says of what is there already, in a provider's words.
if [ "$1" = first ]; then
    if [ -e "$FOLDER/first" ]; then
        echo "a resource with the ID \"$FOLDER/first\" already exists - to be managed via Terraform this resource needs to be" \
            "imported into the State."
        exit 1
    fi
    touch "$FOLDER/first"
else
    while [ -e "$FOLDER/hold" ]; do sleep 0.1; done
    [ -n "$PASSWORD" ] && touch "$FOLDER/second"
fi
