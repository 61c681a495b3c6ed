require 'json'

# Settings as TOML: whatever is in a value stays in that value; what is undef is left out.
Puppet::Functions.create_function(:'mcshell::toml') do
  # @param document Tables by name; what is no table stands before them.
  # @return [String] A document of lines; an error where TOML has no form for a value.
  dispatch :toml do
    param 'Hash[String, Any]', :document
    return_type 'String'
  end

  def toml(document)
    entries = document.reject { |_, value| value.nil? }
    tables, rest = entries.partition { |_, value| value.is_a?(Hash) }
    lines = rest.map { |key, value| entry(key, value) }
    tables.each do |name, table|
      lines << '' unless lines.empty?
      lines << "[#{key(name)}]"
      lines.concat(table.reject { |_, value| value.nil? }.map { |k, value| entry(k, value) })
    end
    lines.map { |line| "#{line}\n" }.join
  end

  def entry(name, value)
    "#{key(name)} = #{value_of(value)}"
  end

  def key(name)
    name.to_s.match?(/\A[A-Za-z0-9_-]+\z/) ? name.to_s : text(name.to_s)
  end

  # On one line; a table in a table is an inline one.
  def value_of(value)
    case value
    when true, false, Integer, Float then value.to_s
    when String then text(value)
    when Array then "[#{value.map { |one| value_of(one) }.join(', ')}]"
    when Hash
      inside = value.reject { |_, one| one.nil? }.map { |k, one| entry(k, one) }
      "{#{inside.join(', ')}}"
    else raise ArgumentError, "TOML has no form for a #{value.class}"
    end
  end

  # A basic string: JSON's, but that TOML wants DEL escaped.
  def text(string)
    JSON.generate(string).gsub("\u007f", '\\u007f')
  end
end
