"""Home Assistant around a home: its Supervisor, its Core, and the household's entities.

    supervisor   own info, Core's address, other add-ons, the broker      HTTP
    core         commands of an administrator                             WebSocket
    ingress      who opens the page in Home Assistant's side bar
    sightings    Home Assistant and the add-ons, as services
    trust        let Core accept what our edge says of visitors
    entities     switches and sensors over MQTT

Nothing here is needed to run a home: without a Supervisor none of it is started, but
for the entities, if a broker is named in the settings. Exposes nothing by itself.
"""
