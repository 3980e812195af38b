import Commands
import IPAM
import JSONC
import Meta
import Modules
import Plans
import Testing

@Suite struct HelpTests {
    @Test func everyNameHasItsHelp() {
        #expect(PluginHelp.all.map(\.type) == Role.pluginNames)
        #expect(Role.pluginNames.allSatisfy { builtins.module($0) != nil || builtins.source($0) != nil })
    }

    /// No key that a plugin takes is left out, and none is made up.
    @Test(arguments: moduleTypes) func aPluginsKeysAreAllThere(type: String) throws {
        let help = try #require(PluginHelp.of(type))
        let module = try #require(builtins.module(type))
        #expect(Set(help.keys.map(\.name)) == Set(module.vocabulary.keys))
    }
}
